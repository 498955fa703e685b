"""What Azure does to the resources of every kind: what it computes, spells differently and adds.
Each kind adds its own with `with_common`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.engine.rules import Rules
from reconciler.engine.sameness import field_of

COMPUTED = (
    "id",
    "name",
    "type",
    "etag",
    "systemData",
    "resourceGroup",
    "properties.provisioningState",
    "identity.principalId",
    "identity.tenantId",
    "identity.userAssignedIdentities.*.principalId",
    "identity.userAssignedIdentities.*.clientId",
)
SPELLED = ("location", "kind", "managedBy", "identity.type", "identity.userAssignedIdentities")


def _without_users(body: Any) -> bool:
    """Whether the identity that is asked for is of a type that has no user-assigned ones."""
    kind = field_of(body, "identity", "type")
    return bool(kind) and "userassigned" not in str(kind).casefold()


def with_common(
    *,
    lists: Mapping[str, str] | None = None,
    whole: Sequence[str] = (),
    ignore_case: Sequence[str] = (),
    quantities: Sequence[str] = (),
    literal: Sequence[str] = (),
    read_only: Sequence[str] = (),
    write_only: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    rewrites: Mapping[str, Any] | None = None,
    moot: Mapping[str, Any] | None = None,
    effects: Mapping[str, str] | None = None,
    varying: Sequence[str] = (),
) -> Rules:
    """The rules of a kind, and those of all resources."""
    return Rules(
        lists=lists or {},
        whole=whole,
        members=("identity.userAssignedIdentities",),
        ignore_case=(*SPELLED, *ignore_case),
        quantities=quantities,
        literal=("tags", *literal),
        read_only=(*COMPUTED, *read_only),
        write_only=write_only,
        defaults={"identity": {"type": "None"}, "identity.type": "None", **(defaults or {})},
        rewrites=rewrites or {},
        moot={"identity.userAssignedIdentities": _without_users, **(moot or {})},
        effects=effects or {},
        varying=varying,
        absent_is_false=True,
        # A null in a body of ours comes from a field that the document leaves out.
        null_asks_nothing=True,
    )
