"""The contract between the loop and a kind: keys, desired objects, observations and the four verbs.

Nothing here knows Azure. `reconcile` owns every decision; a kind only reports and acts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import ceil
from typing import Any, Generic, NamedTuple, Protocol, cast, runtime_checkable

from typing_extensions import TypeVar  # with defaults, which Python 3.11 does not have

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.outputs import Outputs
from reconciler.api.reasons import Cause
from reconciler.engine.fingerprint import fingerprint


class ObjectKey(NamedTuple):
    """What the queue holds: a kind's name and the object's name, unique within the kind (for
    example `dev/stphi01/phi`).
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class DocumentRef(NamedTuple):
    """The document that asked for an object."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Policy(StrEnum):
    """What the loop may do: Manage writes, Ask waits for a person first, Observe only reports,
    Paused only reports until a person resumes, Skip does not even look.
    """

    MANAGE = "Manage"
    ASK = "Ask"
    OBSERVE = "Observe"
    PAUSED = "Paused"
    SKIP = "Skip"

    @property
    def watches(self) -> bool:
        """Whether the object is looked at and not written."""
        return self in (Policy.OBSERVE, Policy.PAUSED)


# What a kind's objects should look like; and what it decided, while it looked, to write next.
Spec_co = TypeVar("Spec_co", covariant=True, default=object)
Next_co = TypeVar("Next_co", covariant=True, default=object)


class Origin(StrEnum):
    """Who made an object, which decides how it ends: what is ours is deleted, what was adopted is
    released.
    """

    OURS = "Ours"
    FOREIGN = "Foreign"  # somebody else's still, and the next write takes it over
    ADOPTED = "Adopted"


@dataclass(frozen=True)
class Identity:
    """Which object it is, without what it should look like: enough to find it, to follow an
    operation on it and to delete it.

    `id` is its ARM id; for a folder, the ARM id of its share and the path on it. `scope` groups
    objects that one leader writes (the Environment's name).
    """

    key: ObjectKey
    id: str
    scope: str = ""
    origin: Origin = Origin.OURS


@dataclass(frozen=True)
class Desired(Generic[Spec_co]):
    """One object as the documents want it.

    `spec` is a frozen value the kind understands; equal specs mean nothing to do on a save. `refs`
    are the objects that must be ready first. `generation` is the document's. `retain` keeps the
    object when its document goes.
    """

    key: ObjectKey
    document: DocumentRef
    spec: Spec_co
    refs: tuple[ObjectKey, ...] = ()
    generation: int = 1
    policy: Policy = Policy.MANAGE
    retain: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """The digest of `spec`; made once, because every pass and every summary asks."""
        return fingerprint(self.spec)


Asked = TypeVar("Asked")
Known = TypeVar("Known", bound=Outputs)
Part = TypeVar("Part")


def with_spec(items: Iterable[Desired], spec: type[Asked]) -> list[Desired[Asked]]:
    """The items whose spec is of that class."""
    return [cast("Desired[Asked]", item) for item in items if isinstance(item.spec, spec)]


@dataclass(frozen=True)
class Gone:
    """An object that no document asks for any more.

    `since` is when that was noticed (`Clock.elapsed`). `listed` says that the inventory of this
    set's objects names it, whatever its record says.
    """

    identity: Identity
    document: DocumentRef
    refs: tuple[ObjectKey, ...] = ()
    generation: int = 1
    policy: Policy = Policy.MANAGE
    retain: bool = False
    since: float = 0.0
    listed: bool = False

    @property
    def key(self) -> ObjectKey:
        return self.identity.key


REPAIR = "write again what is there"  # an effect: Azure calls it Failed, and nobody changed it


class Impact(StrEnum):
    """What a change does to a running service, from nothing to the loss of data."""

    NONE = "none"
    HOT = "hot"  # running replicas take it up
    CONFIGURATION = "configuration"  # of a resource, without a new revision
    RESTART = "restart"  # no replica serves for a while
    NEW_REVISION = "new revision"
    REPLACE = "replace"
    DELETE = "delete"
    DATA_LOSS = "data loss"

    @property
    def severity(self) -> int:
        return list(Impact).index(self)


_BY_EFFECT = {
    "hot": Impact.HOT,
    "upload": Impact.HOT,
    "fetch": Impact.HOT,
    "new revision": Impact.NEW_REVISION,
    "replace": Impact.REPLACE,
}


@dataclass(frozen=True)
class Change:
    """One owned field that differs; `path` is dotted, with `[name]` for keyed lists. Secret values
    are shown as `(secret)`. `effect` says in words what the change does; `given` is its `Impact`
    where the words do not imply one. `follows` says that it follows from a change of another object
    of ours, so it is not drift.
    """

    path: str
    before: Any
    after: Any
    effect: str = "update in place"
    given: Impact | None = None
    follows: bool = False

    @property
    def impact(self) -> Impact:
        return self.given or _BY_EFFECT.get(self.effect, Impact.CONFIGURATION)

    @property
    def values(self) -> tuple[str, str]:
        """Before and after, each cut to what a line can hold."""
        return _short(self.before, self.after)

    def __str__(self) -> str:
        before, after = self.values
        return f"{self.path}: {before} -> {after}"


class LastWrite(NamedTuple):
    """Who wrote to an object last, we or somebody else, of which kind the writer is, and when, in
    the service's own words.
    """

    by: str
    at: str
    kind: str = ""


@dataclass(frozen=True)
class Transfer:
    """What publishing a folder would send: numbers of files against the version before, and `size`
    in bytes. `rate` is in bytes per second; `measured` says that earlier uploads were that fast.
    """

    added: int
    changed: int
    removed: int
    size: int
    rate: int = 0
    measured: bool = False

    @property
    def seconds(self) -> int | None:
        """How long it should take; None where nobody knows a rate."""
        return ceil(self.size / self.rate) if self.rate else None


@runtime_checkable
class Transfers(Protocol):
    """A kind that can tell beforehand what it would send; None where it sends nothing."""

    async def transfer(self, desired: Desired[Any]) -> Transfer | None: ...


@dataclass(frozen=True)
class Mark:
    """A condition a kind wants set on its document; the engine stamps generation and time."""

    type: ConditionType
    status: Status
    reason: Cause
    message: str = ""


@dataclass(frozen=True)
class Observation(Generic[Next_co]):
    """What a kind saw. To make this report it must not have changed anything.

    ready: dependents may go on.
    serves: the object does its work, although it is not yet as desired (the old revision).
    busy: an operation runs on the object, so nothing may be written now.
    changes: the owned fields that differ; empty when up to date.
    outputs: facts for dependents and for the status.
    poll_after: look again after so many seconds, although nothing is wrong.
    provisional: nothing is to be written now, but a rollout will go on by itself; its next change
        is not drift.
    held: a decision, such as a rollback, keeps the object from being what the documents ask for.
    unfinished: what exists is right, but a part is still to come (a key that another object makes
        first). Dependents go on; the document is not in sync yet.
    failed: it will not become what the documents ask for by itself, ready or not.
    next: the write that the kind has decided on, for its own `update`.
    later: differences that the writes after `next` settle. A plan shows them, and `last_write`.
    """

    exists: bool
    ready: bool = False
    serves: bool = False
    busy: bool = False
    changes: tuple[Change, ...] = ()
    outputs: Outputs | None = None
    marks: tuple[Mark, ...] = ()
    reason: Cause | None = None
    message: str = ""
    poll_after: float | None = None
    provisional: bool = False
    held: bool = False
    unfinished: bool = False
    failed: bool = False
    origin: Origin = Origin.OURS
    next: Next_co | None = None
    later: tuple[Change, ...] = ()
    last_write: LastWrite | None = None


@dataclass(frozen=True)
class Operation:
    """A long-running operation that a write began. `token` is stored and used to poll it.
    `retry_after` is how many seconds the service asks to wait before the first poll, if it does.
    """

    token: str
    retry_after: float | None = None


@dataclass(frozen=True)
class Wrote:
    """A write that was issued. `operation` is what it began and must be polled; None if the write
    is done. `trouble` is the failure that made it necessary, if one did.
    """

    message: str
    operation: Operation | None = None
    trouble: Cause | None = None


@dataclass(frozen=True)
class Progress:
    """One polling step of a long-running operation; `error` carries the service's own words when it
    failed.
    """

    done: bool
    error: Exception | None = None
    retry_after: float | None = None


class Facts(Protocol):
    """What the loop tells a kind of the other objects.

    `outputs` are an object's facts once it is ready (`NotReadyYet` before). `last` is what the last
    look saw, ready or not; None when nobody has looked yet. `part` is only what `pick` takes of
    that: it leaves out what changes all the time, such as ages and heartbeats. `of` is the class of
    the facts. Whatever is read is a dependency: when it changes, the reader is not in sync until
    the next look at it.
    """

    def outputs(self, key: ObjectKey, of: type[Known]) -> Known: ...

    def last(self, key: ObjectKey, of: type[Known]) -> Known | None: ...

    def part(
        self, key: ObjectKey, of: type[Known], pick: Callable[[Known], Part]
    ) -> Part | None: ...


# A kind takes only its own specs and decisions; the loop hands each kind only those.
Spec_contra = TypeVar("Spec_contra", contravariant=True, default=Any)
NextOf = TypeVar("NextOf", default=Any)


class External(Protocol[Spec_contra, NextOf]):
    """One kind of resource. No call blocks for long; all are idempotent; `observe` never writes.

    `create` must accept that the object exists, `delete` that it is gone or going. `delete` of what
    was adopted releases it, and is None only if it does not exist. Errors are `engine.errors` only.
    """

    name: str

    def identify(self, desired: Desired[Spec_contra]) -> Identity: ...

    async def observe(self, desired: Desired[Spec_contra], facts: Facts) -> Observation[NextOf]: ...

    async def create(self, desired: Desired[Spec_contra], facts: Facts) -> Wrote: ...

    async def update(
        self, desired: Desired[Spec_contra], observed: Observation[NextOf], facts: Facts
    ) -> Wrote: ...

    async def exists(self, identity: Identity) -> bool: ...

    async def delete(self, identity: Identity) -> Wrote | None: ...

    async def poll(self, identity: Identity, operation: str) -> Progress: ...


_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWN, _LEAD = 60, 12  # characters of a value, and of its text before the first difference


def _short(before: Any, after: Any) -> tuple[str, str]:
    """Both values as one line shows them, cut so that what differs can be seen."""
    texts = ["(unset)" if value is None else _text(value) for value in (before, after)]
    pairs = enumerate(zip(*texts, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(map(len, texts)))
    start = max(0, same - _LEAD) if max(map(len, texts)) > _SHOWN and same > _SHOWN // 2 else 0
    first, second = (_cut(text, start) for text in texts)
    return first, second


def _text(value: Any) -> str:
    """The value; the beginning of a digest tells it from any other."""
    text = str(value)
    return text[:12] if _DIGEST.fullmatch(text) else text


def _cut(text: str, start: int) -> str:
    shown = f"...{text[start:]}" if start else text
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
