"""Ownership in tags: who made a resource, for which document, and from which spec. Tags of others
are never touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.resources import SHARE_OWNER

PREFIX = "moorage-"  # no document may set a tag that begins so
OWNER = PREFIX + "owner"
DOCUMENT = PREFIX + "document"
ENVIRONMENT = PREFIX + "environment"
ADOPTED = PREFIX + "adopted"
APPLIED = PREFIX + "applied"  # when and from where; written, never compared
HELD = PREFIX + "held"  # the decision against a revision, see kinds/service/hold.py
STEP = PREFIX + "step"  # where a rollout in steps stands, see kinds/service/rollout_steps.py
OURS = (OWNER, DOCUMENT, ENVIRONMENT, ADOPTED, APPLIED, HELD, STEP)


def ownership(owner: str, document: str, environment: str) -> dict[str, str]:
    """The tags that say a resource is ours; `document` like `InferenceService/phi`."""
    return {OWNER: owner, DOCUMENT: document, ENVIRONMENT: environment}


def merged(existing: Mapping[str, str] | None, ours: Mapping[str, str]) -> dict[str, str]:
    """`existing` with `ours` on top. Azure's tag names have no case, so an old spelling is
    replaced, not doubled.
    """
    names = {name.lower() for name in ours}
    return {
        name: value for name, value in (existing or {}).items() if name.lower() not in names
    } | dict(ours)


def released(existing: Mapping[str, str] | None) -> dict[str, str | None]:
    """`existing` as a patch that removes ours. None deletes a tag where Azure merges tags; the
    other tags are sent too, for types where Azure replaces all of them.
    """
    return {
        name: None if name.lower() in OURS else value for name, value in (existing or {}).items()
    }


def tag(resource: Mapping[str, Any] | None, name: str) -> str | None:
    """The value of a tag of a resource as ARM returned it, whatever the case of its name."""
    for each, value in ((resource or {}).get("tags") or {}).items():
        if each.lower() == name.lower():
            return str(value)
    return None


def of_share(share: Mapping[str, Any]) -> dict[str, Any]:
    """The owner in a share's metadata as other resources carry it in a tag: shares have none."""
    owner = (share["properties"].get("metadata") or {}).get(SHARE_OWNER)
    return {"tags": {OWNER: owner}} if owner else {}


def is_adopted(resource: Mapping[str, Any] | None) -> bool:
    """Whether `resource` was there before a document took it over."""
    return tag(resource, ADOPTED) is not None
