"""A round robin over the places on shares: each resync reads a constant number of unchanged places,
so a thousand services cost as many reads as ten. Pure; the clock is given.

A place that changes or was never read does not wait for its turn. `turns` does the same for reads
of ARM, which decide what is Ready and must be more frequent.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from reconciler.api.resources import ShareRef

AT_ONCE = 20  # unchanged places that are read in each resync
Place = tuple[ShareRef, str] | tuple[ShareRef, str, str]  # the path, and perhaps what is there
FORGOTTEN = 10  # resyncs after which a place that does not ask is forgotten


class Rounds:
    """The place that has not been looked at for longest is next."""

    def __init__(self, clock: Callable[[], float], resync: float, at_once: int = AT_ONCE) -> None:
        self._clock, self._resync, self._at_once = clock, resync, at_once
        self._left, self._counted = float(at_once), clock()
        self._looked: dict[Place, int] = {}  # in the order of the looks, numbered
        self._looks = 0
        self._asked: dict[Place, float] = {}
        self._hurried: set[Place] = set()
        self._cleared = clock()

    def due(self, what: Place) -> bool:
        """Whether `what`, which is at rest, is to be looked at now."""
        now = self._refill()
        self._asked[what] = now
        at = self._looked.get(what)
        if at is None or what in self._hurried:
            return True
        places = int(self._left)
        last_in_line = next(islice(self._looked.values(), max(0, places - 1), None), at)
        return places > 0 and at <= last_in_line

    def looked(self, what: Place) -> None:
        """Count a look. The first look at a place costs no other place its turn."""
        now = self._refill()
        if self._looked.pop(what, None) is not None:
            self._left = max(0.0, self._left - 1)
        self._looks += 1
        self._looked[what], self._asked[what] = self._looks, now
        self._hurried.discard(what)

    def knows(self, what: Place) -> bool:
        """Whether it was looked at and has asked recently."""
        return what in self._looked

    def hurry(self) -> None:
        """Make every place due, because a person asked for a look."""
        self._hurried = {*self._looked}

    def forget(self, what: Place) -> None:
        """Forget the last look: `what` has changed since."""
        for known in (self._looked, self._asked):
            known.pop(what, None)
        self._hurried.discard(what)

    def forget_below(self, path: str) -> None:
        """Forget the looks at `path` and below it; an empty path means all."""
        for what in [*self._asked]:
            if f"{what[1]}/".startswith(f"{path}/" if path else ""):
                self.forget(what)

    def _refill(self) -> float:
        now = self._clock()
        # A tenth more, because the jitter of a resync can make it that much early.
        gained = (now - self._counted) * 1.1 * self._at_once / self._resync
        self._left, self._counted = min(self._at_once, self._left + gained), now
        if now - self._cleared > self._resync:
            self._cleared = now
            before = now - FORGOTTEN * self._resync
            for what in [what for what, asked in self._asked.items() if asked < before]:
                self.forget(what)
        return now
