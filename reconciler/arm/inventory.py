"""A read cache: one list per (kind, scope), shared by all keys of a reconcile pass and dropped
after a write to it.

A typed list of 100 apps blocks the event loop for 150 ms and a GET for each app takes 100 calls;
one raw list takes 12 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from reconciler.api import versions
from reconciler.api.kinds import Kind, Listing
from reconciler.arm.breadth import Breadth
from reconciler.arm.concurrency import failed
from reconciler.engine.errors import ReconcileError, Throttled
from reconciler.engine.urgency import is_waited_for


class Part(Enum):
    """What Azure makes of the resources that kinds write, and what holds it (an ARM id)."""

    EXECUTION = Listing("executions", versions.APP)  # a job
    REVISION = Listing("revisions", versions.APP)  # a container app
    REPLICA = Listing("replicas", versions.APP)  # a revision

    @property
    def listing(self) -> Listing:
        return self.value


Listed = Kind | Part
LONG = 100  # items; a longer list comes in several pages
FEW = 3  # that are asked for one by one before the whole of a long list is read
NEW = 10.0  # seconds for which a resource of ours counts as new after its creation has ended
LONGEST = 3600.0  # that a creation takes


class _Entry(NamedTuple):
    task: asyncio.Task[dict[str, dict[str, Any]]]
    asked: float


@dataclass
class _Creation:
    """A creation of ours: when it ended, and what was written below it since."""

    at: float
    written: set[str] = field(default_factory=set)


class Reader(Protocol):
    """The requests that are needed here, of `clients.Arm`."""

    async def get_json(self, path: str, api_version: str) -> dict[str, Any] | None: ...

    async def list_json(self, path: str, api_version: str) -> list[dict[str, Any]]: ...


class Inventory:
    """Answers are at most `ttl` seconds old, and never older than the last write that `invalidate`
    announced.
    """

    def __init__(
        self, arm: Reader, ttl: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._arm = arm
        self._ttl = ttl
        self._clock = clock
        self._entries: dict[tuple[Listing, str], _Entry] = {}
        self._names: dict[tuple[Listing, str], set[str]] = {}  # that were there last
        self._alone: dict[tuple[Listing, str], list[float]] = {}  # when one was asked for
        self._answers: dict[str, tuple[float, dict[str, Any]]] = {}  # of writes, by id
        self._made: dict[str, _Creation] = {}
        self._breadth = Breadth(clock)
        self._missing: dict[str, float] = {}  # resource groups that Azure said are not there

    async def find(self, what: Listed, scope: str, name: str) -> dict[str, Any] | None:
        """The resource called `name` (any case) in `scope`, or None where the list lacks it."""
        if answered := self._answered(_id(what, scope, name)):
            return answered
        return (await self._listed(what, scope)).get(name.lower())

    async def look(self, what: Listed, scope: str, name: str) -> dict[str, Any] | None:
        """Like `find`, but None means that the resource does not exist, because a list may lag
        behind a creation. The resource is read with a GET of its own where that costs less than the
        list.
        """
        id_ = _id(what, scope, name)
        if answered := self._answered(id_):
            return answered
        if self._is_missing(id_) or self._is_unwritten(id_):
            return None
        if found := await self._find_wide(what, scope, id_):
            return found
        key = (what.listing, _normal(scope))
        found = None
        if not self._is_alone(key, name.lower()):
            found = await self.find(what, scope, name)
        found = found or await self.get(what, scope, name)
        if found is not None:
            self._names.get(key, set()).add(name.lower())
            if _is_few(what):
                self._names.get((what.listing, _subscription(scope)), set()).add(id_)
        return found

    async def list_wide(self, kind: Kind, subscription: str) -> list[dict[str, Any]]:
        """All of a kind in the subscription, from the list that `look` shares."""
        return [*(await self._listed(kind, subscription)).values()]

    async def list(self, what: Listed, scope: str) -> list[dict[str, Any]]:
        """All of `what` in `scope`, in Azure's order; empty when the scope does not
        exist.
        """
        return [*(await self._listed(what, scope)).values()]

    async def get(self, what: Listed, scope: str, name: str) -> dict[str, Any] | None:
        """A fresh read of one resource that bypasses the cache: right after a write, and for fields
        that a list leaves out.
        """
        return await self._arm.get_json(
            f"{scope}/{what.listing.path}/{quote(name)}", what.listing.api_version
        )

    def invalidate(self, resource_id: str) -> None:
        """Forget the list that shows `resource_id` and all lists below it. Reads now under way are
        not kept either.
        """
        changed = _normal(resource_id)
        self._forget(changed)
        for known in (self._made, self._missing):
            for id_ in [id_ for id_ in known if _within(id_, changed)]:
                del known[id_]

    def learn(self, resource_id: str, answer: Mapping[str, Any]) -> None:
        """Cache the answer of a write if it is the resource; any other answer, such as an
        operation, is ignored.
        """
        if _normal(str(answer.get("id", ""))) == (id_ := _normal(resource_id)):
            self._answers[id_] = (self._clock(), dict(answer))

    def doubt(self, resource_id: str) -> bool:
        """Drop the cached answer of a write. Returns whether there was one. Such an answer need not
        show all fields that a read shows, so it counts only if it agrees with what was asked for.
        """
        return self._answers.pop(_normal(resource_id), None) is not None

    def made(self, resource_id: str) -> None:
        """Record that we created a resource that did not exist."""
        self._made[_normal(resource_id)] = _Creation(self._clock())

    def ended(self, resource_id: str) -> None:
        """Record the end of a long-running write to the resource."""
        made = self._made.get(_normal(resource_id))
        self.invalidate(resource_id)
        if made is not None:  # nothing can be put into it while it is being created
            self._made[_normal(resource_id)] = _Creation(self._clock(), made.written)

    def missing(self, group_id: str) -> None:
        """Record that Azure has no such resource group, and so nothing in it."""
        self._missing[_normal(group_id)] = self._clock()

    def is_new(self, resource_id: str) -> bool:
        """Whether we created it a moment ago."""
        return self._just_made(_normal(resource_id)) is not None

    def is_made(self, resource_id: str) -> bool:
        """Whether the last write to it was its creation by us."""
        return _normal(resource_id) in self._made

    def _just_made(self, id_: str) -> _Creation | None:
        made = self._made.get(id_)
        return made if made is not None and self._clock() - made.at <= NEW else None

    def holds_none(self, what: Listed, scope: str) -> bool:
        """Whether we created `scope` a moment ago and have put none of `what` into it since."""
        made, below = self._just_made(_normal(scope)), _normal(f"{scope}/{what.listing.path}")
        return made is not None and not any(_within(id_, below) for id_ in made.written)

    def _forget(self, changed: str) -> None:
        """What lists and writes said of a resource and of all below it."""
        for id_, made in self._made.items():
            if _within(changed, id_) and changed != id_:
                made.written.add(changed)
        for id_ in [id_ for id_ in self._answers if _within(id_, changed)]:
            del self._answers[id_]
        for key in [*self._entries]:
            path = f"{key[1]}/{key[0].path.lower()}"
            if (
                changed.rpartition("/")[0] == path
                or path.startswith(f"{changed}/")
                or _shows(key, changed)
            ):
                del self._entries[key]

    def _answered(self, id_: str) -> dict[str, Any] | None:
        at, answer = self._answers.get(id_, (0.0, None))
        return answer if answer is not None and self._clock() - at <= self._ttl else None

    def _is_missing(self, id_: str) -> bool:
        now = self._clock()
        return any(_within(id_, one) and now - at <= self._ttl for one, at in self._missing.items())

    def _is_unwritten(self, id_: str) -> bool:
        """Whether it cannot exist, because its parent was just created by us and nothing was
        written below it since. A resource group does not count as such a parent: another set of
        documents may write there at the same time.
        """
        return any(
            _within(id_, one)
            and "/providers/" in one
            and (made := self._just_made(one)) is not None
            and not any(_within(id_, written) for written in made.written)
            for one in self._made
            if id_ != one
        )

    async def _listed(self, what: Listed, scope: str) -> dict[str, dict[str, Any]]:
        key = (what.listing, _normal(scope))
        if self._is_missing(key[1]):
            return {}
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.asked > self._ttl or failed(entry.task):
            task = asyncio.ensure_future(self._read(what.listing, scope))
            # Fetch the exception, because nobody may be left to await it when every waiter was
            # cancelled.
            task.add_done_callback(failed)
            self._drop_old(self._clock())
            entry = self._entries[key] = _Entry(task, self._clock())
        # Shielded: one waiter that is cancelled must not take the answer from the others.
        return await asyncio.shield(entry.task)

    async def _find_wide(self, what: Listed, scope: str, id_: str) -> dict[str, Any] | None:
        """The resource from a list of the whole subscription, where that is cheaper than a list for
        each group; else None. What that list lacks, or a failure of it, says nothing: the resource
        group is asked then.
        """
        if not _is_few(what):
            return None
        key = (what.listing, _subscription(scope))
        names = self._names.get(key)
        is_wide = self._breadth.is_wide(what.listing, _normal(scope), len(names or ()))
        is_worth_it = is_wide and (names is None or id_ in names) and not is_waited_for()
        if not is_worth_it and not self._is_fresh(key):
            return None
        try:
            return (await self._listed(what, key[1])).get(id_)
        except Throttled:  # a list for each group would only ask for more
            raise
        except ReconcileError:
            self._breadth.refuse(what.listing)
            return None

    def _is_fresh(self, key: tuple[Listing, str]) -> bool:
        """Whether a cached answer is fresh, so that this read costs nothing."""
        entry = self._entries.get(key)
        if entry is None or not entry.task.done() or failed(entry.task):
            return False
        return self._clock() - entry.asked <= self._ttl

    def _is_alone(self, key: tuple[Listing, str], name: str) -> bool:
        """Whether to read `name` with a GET of its own instead of the list. That is so for the
        first resource of a scope, which is often new, and for one that was missing at its last
        read. Where the list is long, it is also so for the first few reads and for those that a
        person waits for, because a save must not wait for the ten pages of a thousand apps.
        """
        now, entry, names = self._clock(), self._entries.get(key), self._names.get(key)
        is_long = names is not None and len(names) > LONG
        if entry is not None and now - entry.asked <= self._ttl and not failed(entry.task):
            return is_long and is_waited_for() and not entry.task.done()
        if names is not None and name not in names:
            return True
        if is_long and is_waited_for():
            return True
        most = 1 if names is None else FEW if is_long else 0
        lately = [at for at in self._alone.get(key, ()) if now - at <= self._ttl]
        self._alone[key] = [*lately, now][:FEW]
        return len(lately) < most

    def _drop_old(self, now: float) -> None:
        """Drop answers that are too old to be used: those of a thousand services fill 50 MB."""
        old = [key for key, entry in self._entries.items() if now - entry.asked > self._ttl]
        for key in old:
            del self._entries[key]
        for id_ in [id_ for id_, (at, _) in self._answers.items() if now - at > self._ttl]:
            del self._answers[id_]
        for id_ in [id_ for id_, made in self._made.items() if now - made.at > LONGEST]:
            del self._made[id_]

    async def _read(self, listing: Listing, scope: str) -> dict[str, dict[str, Any]]:
        path, version = f"{scope}/{listing.path}", listing.api_version
        items = await self._arm.list_json(f"/{path.lstrip('/')}", version)
        if listing.in_detail:
            read = await asyncio.gather(
                *(self._arm.get_json(f"{path}/{quote(item['name'])}", version) for item in items)
            )
            items = [item for item in read if item is not None]
        # Two resource groups of a subscription may have resources of one name.
        by = "id" if _is_wide(listing, scope) else "name"
        found = {_normal(str(item.get(by, ""))): item for item in items}
        self._names[listing, _normal(scope)] = {*found}
        return found


def _id(what: Listed, scope: str, name: str) -> str:
    return _normal(f"{scope}/{what.listing.path}/{quote(name)}")


def _within(id_: str, one: str) -> bool:
    """Whether `id_` is `one` or below it."""
    return id_ == one or id_.startswith(f"{one}/")


def _normal(scope: str) -> str:
    return scope.strip("/").lower()


def _is_few(what: Listed) -> bool:
    return isinstance(what, Kind) and what.few


def _subscription(scope: str) -> str:
    return _normal(scope).partition("/resourcegroups/")[0]


def _is_wide(listing: Listing, scope: str) -> bool:
    """Whether a list spans the resource groups of a subscription."""
    return _normal(scope) == _subscription(scope) and listing.path.startswith("providers/")


def _shows(key: tuple[Listing, str], changed: str) -> bool:
    """Whether `key` is a list of the whole subscription that shows the resource, or what is in the
    resource group, that has `changed`.
    """
    listing, scope = key
    if not (_is_wide(listing, scope) and changed.startswith(f"{scope}/")):
        return False
    is_group = "/providers/" not in changed
    return is_group or changed.rpartition("/")[0].endswith(f"/{listing.path.lower()}")
