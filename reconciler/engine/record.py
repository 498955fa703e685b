"""What the loop remembers of one object between passes: in memory in `ledger`, as JSON in `store`.
Never anything secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

from pydantic import SecretStr

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import Cause, read_reason
from reconciler.engine.external import (
    Change,
    DocumentRef,
    Impact,
    Mark,
    ObjectKey,
    Origin,
    Policy,
)

_SECRET_ENDINGS = ("key", "password", "secret", "token", "connectionstring")


class Phase(StrEnum):
    """Where an object stands after a pass."""

    PENDING = "Pending"  # nobody has looked since the document changed
    WAITING = "Waiting"  # a reference or the leadership is not there yet
    WORKING = "Working"  # a write was issued or an operation runs
    UNREADY = "Unready"  # as desired, but not usable yet
    READY = "Ready"
    RETRYING = "Retrying"  # an error that may pass by itself
    BLOCKED = "Blocked"  # a person must do something
    NOT_CONVERGING = "NotConverging"  # the same difference survived three writes
    STALLED = "Stalled"  # the document, or Azure, must change
    SKIPPED = "Skipped"
    LINGERING = "Lingering"  # its document is gone, but perhaps not for long
    DELETING = "Deleting"
    DELETED = "Deleted"
    RETAINED = "Retained"  # its document is gone and it was left in place


class AskedChange(NamedTuple):
    """A change that waits for a person, as text, with its class and its effect in words."""

    change: str
    impact: Impact
    effect: str

    @classmethod
    def of(cls, change: Change) -> Self:
        return cls(str(change), change.impact, change.effect)


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """`since`, `seen`, `written` and `gone` are in seconds of `Clock.elapsed`.

    id, scope: as in its `Identity`.
    since: when the phase began. seen: the last successful look. written: the last write (0: never).
    gone: since when no document asks for it (0: one does).
    usable: whether the kind calls it ready or serving; its references do not count.
    asks: the changes that a person must approve.
    fingerprint: of the spec last acted for.
    settled: the digest of the inputs (spec and facts of the references) with which it was last seen
        as desired.
    operation: the token of the operation under way. verb: what that does.
    writes: how many writes each difference has survived. failure: how the operation of the last
        one failed, if it did.
    """

    key: ObjectKey
    document: DocumentRef
    id: str = ""
    scope: str = ""
    phase: Phase = Phase.PENDING
    reason: Cause | None = None
    message: str = ""
    since: float = 0.0
    seen: float | None = None
    written: float = 0.0
    gone: float = 0.0
    exists: bool = False
    usable: bool = False
    synced: bool = False
    failed: bool = False
    drifted: bool = False
    changes: tuple[str, ...] = ()
    asks: tuple[AskedChange, ...] = ()
    marks: tuple[Mark, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 0
    fingerprint: str = ""
    settled: str = ""
    operation: str | None = None
    verb: str | None = None
    writes: Mapping[str, int] = field(default_factory=dict)
    failure: tuple[Cause, str] | None = None
    refs: tuple[ObjectKey, ...] = ()
    policy: Policy = Policy.MANAGE
    retain: bool = False
    origin: Origin = Origin.OURS

    def after_boot(self, now: float) -> ObjectRecord:
        """The record after a reboot, when nobody knows how long ago its times were: delays begin
        again, and the last look is too old to rely on.
        """
        return replace(
            self,
            since=now,
            seen=None if self.seen is None else 0.0,
            written=now if self.written else 0.0,
            gone=now if self.gone else 0.0,
        )

    def dump(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> ObjectRecord:
        """The record `dump` wrote.

        Raises:
            ValueError, KeyError, TypeError: another release wrote it, in another form.
        """
        values = json.loads(text)
        known = {name: values[name] for name in (f.name for f in fields(cls)) if name in values}
        known["key"] = ObjectKey(*known["key"])
        known["document"] = DocumentRef(*known["document"])
        known["phase"], known["policy"] = Phase(known["phase"]), Policy(known["policy"])
        known["origin"] = Origin(known.get("origin", Origin.OURS))
        known["changes"] = tuple(known["changes"])
        known["reason"] = read_reason(known["reason"]) if known["reason"] else None
        if failure := known.get("failure"):
            known["failure"] = read_reason(failure[0]), failure[1]
        known["marks"] = tuple(_mark(**mark) for mark in known["marks"])
        known["asks"] = tuple(
            AskedChange(text, Impact(impact), effect)
            for text, impact, effect in known.get("asks", ())
        )
        known["refs"] = tuple(ObjectKey(*ref) for ref in known["refs"])
        return cls(**known)


def _mark(type: str, status: str, reason: str, message: str) -> Mark:  # noqa: A002 — the field's name
    return Mark(ConditionType(type), Status(status), read_reason(reason), message)


def public(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `outputs` that may be stored and shown: JSON values only, without `SecretStr` and
    without text under a name that ends like a secret's (`key`, `password`, `secret`, `token`,
    `connectionString`).
    """
    return {
        name: value
        for name, raw in outputs.items()
        if (value := _public(str(name), raw)) is not _HIDDEN
    }


_HIDDEN = object()


def _public(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr | bytes):
        return _HIDDEN
    if isinstance(value, str):
        return _HIDDEN if name.casefold().replace("_", "").endswith(_SECRET_ENDINGS) else str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return public(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [item for raw in value if (item := _public(name, raw)) is not _HIDDEN]
    return str(value)
