"""The keyed work queue between sources and workers. It holds keys, never events: duplicates
collapse.

The sets `dirty` and `processing` are client-go's (util/workqueue): one key is never held by two
workers, and a key added while it is held runs once more afterwards.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum

from reconciler.engine.external import ObjectKey

# a timer may fire a rounding error early; without slack the workers would spin until the time is
# reached
SLACK = 0.001


ALONE = 1.0  # seconds for which what a person waits for keeps other work from being begun


class Priority(IntEnum):
    """SAVE: a person has just saved it, or asked for it, and waits. EDIT: what is under way. CROWD:
    a change of many objects at once (the first start), which lets a later save go first.
    """

    SAVE = 0
    EDIT = 1
    CROWD = 2
    RESYNC = 3


class WorkQueue:
    """All methods but `get` and `drain` are synchronous and must be called on the loop's thread.

    `clock` is any monotonic clock in seconds; without one the running loop's time is used.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._dirty: dict[ObjectKey, Priority] = {}
        self._ready: dict[Priority, OrderedDict[ObjectKey, None]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._processing: dict[ObjectKey, Priority] = {}
        self._alone_until = -math.inf
        self._due: dict[ObjectKey, tuple[float, int, Priority, bool]] = {}
        self._heap: list[tuple[float, int, ObjectKey]] = []
        self._serial = itertools.count()
        self._closed = False
        self._changed = asyncio.Event()

    def add(self, key: ObjectKey, priority: Priority = Priority.EDIT) -> None:
        """Make `key` due now. A resync does not cut short a key that is backing off; an
        edit does.
        """
        due = self._due.get(key)
        if self._closed or (due is not None and due[3] and priority is Priority.RESYNC):
            return
        self._mark(key, priority)

    def add_after(
        self,
        key: ObjectKey,
        delay: float,
        priority: Priority = Priority.EDIT,
        *,
        hold: bool = False,
    ) -> None:
        """Make `key` due in `delay` seconds; of several such requests the earliest wins. `hold`
        marks a backoff.
        """
        if self._closed:
            return
        if delay <= 0:
            self._mark(key, priority)
            return
        when, serial = self._clock() + delay, next(self._serial)
        due = self._due.get(key)
        if due is None or when < due[0]:
            # The former entry stays in the heap and is passed over there: a search would cost more.
            self._due[key] = (when, serial, priority, hold)
            heapq.heappush(self._heap, (when, serial, key))
            self._changed.set()

    def urge(self, key: ObjectKey, priority: Priority) -> None:
        """Make sure that `key` is looked at with this priority. A pass under way takes it over:
        nothing has changed that calls for another one.
        """
        if key in self._processing:
            self._processing[key] = min(self._processing[key], priority)
        else:
            self.add(key, priority)

    def expect(self) -> None:
        """Announce a save: for a moment, `take` returns only keys that a person waits for.
        Otherwise a resync of a thousand services could keep the processor busy for seconds.
        """
        self._alone_until = self._clock() + ALONE

    def take(self, least: Priority = Priority.RESYNC) -> ObjectKey | None:
        """The next key that is due and at least as urgent as `least`. It is held until `done`. Its
        delayed request is dropped, because the outcome of the pass sets a new one.
        """
        self._promote()
        alone = self._clock() < self._alone_until
        for priority in Priority:
            if priority > least or (alone and priority > Priority.EDIT):
                return None
            if self._ready[priority]:
                key, _ = self._ready[priority].popitem(last=False)
                del self._dirty[key]
                self._due.pop(key, None)
                self._processing[key] = priority
                if priority is Priority.SAVE:
                    self.expect()
                return key
        return None

    async def get(self, least: Priority = Priority.RESYNC) -> ObjectKey | None:
        """Wait for a key that is at least as urgent as `least`; None once the queue is closed and
        nothing is left that is due.
        """
        while True:
            self._changed.clear()
            key = self.take(least)
            if key is not None or self._closed:
                return key
            await self._wait(self._next_chance())

    def done(self, key: ObjectKey) -> None:
        """Give `key` back. If it was added meanwhile it is due again, unless a resync added it and
        it now backs off.
        """
        held = self._processing.pop(key, None)
        if held is Priority.SAVE and held not in self._processing.values():
            self._alone_until = -math.inf
        due = self._due.get(key)
        if due is not None and due[3] and self._dirty.get(key) is Priority.RESYNC:
            del self._dirty[key]
        if key in self._dirty:
            self._ready[self._dirty[key]][key] = None
        self._changed.set()

    def close(self) -> None:
        """Accept nothing more and drop what has not begun."""
        self._closed = True
        self._due.clear()
        self._heap.clear()
        self._dirty.clear()
        for ready in self._ready.values():
            ready.clear()
        self._changed.set()

    async def drain(self) -> None:
        """Close, then wait until no worker holds a key."""
        self.close()
        while self._processing:
            self._changed.clear()
            await self._changed.wait()

    def next_due(self) -> float | None:
        """Seconds until the first delayed key is due; None when there is none."""
        while self._heap and self._stale(self._heap[0]):
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    def priority(self, key: ObjectKey) -> Priority:
        """Of a key that is held."""
        return self._processing[key]

    @property
    def idle(self) -> bool:
        """Nothing is due and nothing is held; delayed keys do not count."""
        return not self._dirty and not self._processing

    @property
    def calm(self) -> bool:
        """Nothing is due and nothing is held, but what a resync looks at."""
        priorities = {*self._dirty.values(), *self._processing.values()}
        return priorities <= {Priority.RESYNC}

    def __len__(self) -> int:
        return len(self._dirty)

    @property
    def held(self) -> frozenset[ObjectKey]:
        return frozenset(self._processing)

    def _mark(self, key: ObjectKey, priority: Priority) -> None:
        before = self._dirty.get(key)
        if before is not None and before <= priority:
            return
        self._dirty[key] = priority
        if before is not None:
            self._ready[before].pop(key, None)
        if key not in self._processing:
            self._ready[priority][key] = None
            self._changed.set()

    def _promote(self) -> None:
        now = self._clock() + SLACK
        while self._heap and (self._stale(self._heap[0]) or self._heap[0][0] <= now):
            entry = heapq.heappop(self._heap)
            if not self._stale(entry):
                self._mark(entry[2], self._due.pop(entry[2])[2])

    def _next_chance(self) -> float | None:
        """Seconds until `take` may give a key that it does not give now."""
        left = self._alone_until - self._clock()
        waits = (self.next_due(), left if left > 0 else None)
        return min((each for each in waits if each is not None), default=None)

    def _stale(self, entry: tuple[float, int, ObjectKey]) -> bool:
        due = self._due.get(entry[2])
        return due is None or due[1] != entry[1]

    async def _wait(self, delay: float | None) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._changed.wait()
        except TimeoutError:
            return
