"""Whose turn it is to be read from ARM: a budget of reads for all services together, which `looks`
spends. Pure; the clock is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable

RATE = 5.0  # reads a second: a fifth of the 25 that ARM gives back to one principal
BURST = 330  # saved up between resyncs, which ask for all services at once
SAME_PASS = 2.0  # seconds in which a second look costs nothing, because it shares the first's lists
RESERVE = 30  # of them, which settled services leave to those that move
EXTRA = 0.25  # of them a second, for the replicas of settled services where lists are scarce


class Turns:
    """Services that move (unserved, changed, failing) go first. Settled ones share what is left;
    the one that has waited longest is next.
    """

    def __init__(self, clock: Callable[[], float], rate: float = RATE, burst: int = BURST) -> None:
        self.clock, self.rate, self.burst = clock, rate, burst
        self._left, self._counted = float(burst), clock()
        self._last: dict[str, float] = {}  # by service: when it was looked at
        self._asked: dict[str, float] = {}
        self._detailed: dict[str, float] = {}
        self._extra = 0.0
        self._moving: dict[str, float] = {}
        self._urgent: set[str] = set()
        self._scarce = False  # the budget does not hold every list of every service

    def hurry(self, service: str) -> None:
        """Look again at once, because it was written to or the last look may be wrong."""
        self._urgent.add(service)

    def settled(self, service: str) -> bool:
        """Whether a service of which nothing is expected may be looked at now."""
        self._moving.pop(service, None)
        before, now, mine = self._ask(service)
        if service in self._urgent or now - mine < SAME_PASS:
            return True
        # Passes come in the same order every time: without turns the first services would take the
        # whole budget. A service that has not asked since this one did no longer exists.
        waiting = [at for other, at in self._last.items() if self._asked[other] >= before]
        ahead = sum(at < mine for at in waiting)
        # A tenth less than saved up: a resync may come that much early. How many there are is known
        # once all have asked.
        self._scarce = before == -math.inf or 2 * len(waiting) > 0.9 * (self.burst - RESERVE)
        return self._left - RESERVE >= (1 if self._scarce else 2) * (1 + ahead)

    def moves(self, service: str) -> bool:
        """Whether a service that is on its way may be looked at now."""
        _, now, mine = self._ask(service)
        self._moving[service] = now
        return service in self._urgent or now - mine < SAME_PASS or self._left > 0

    def detailed(self, service: str) -> bool:
        """Whether a look at a settled service reads its replicas too, although its revisions are as
        before. Scarce ones do in turn, out of a purse of their own: paid from the other one, it
        would cost somebody else the turn.
        """
        if not self._scarce:
            return True
        now, before = self.clock(), self._detailed.get(service, -math.inf)
        if self._extra < 1 or now - before < len(self._last) / EXTRA:
            return False
        self._detailed[service] = now
        self._extra -= 1
        self._left += 1  # which `looked` takes again
        return True

    def looked(self, service: str, reads: int) -> None:
        """Count a look that was taken."""
        now = self.clock()
        self._urgent.discard(service)
        if now - self._last.get(service, -math.inf) >= SAME_PASS:
            self._left -= reads
            self._last[service] = now

    def pause(self) -> float:
        """Seconds until what moves should be looked at again: soon while the budget is rich, and
        with a fifth of it where it is not.
        """
        self._refill()
        if self._left > self.burst / 2:
            return 0.5
        return max(0.5, 2 * len(self._moving) / (self.rate / 5))

    def _ask(self, service: str) -> tuple[float, float, float]:
        """When it asked before, the present, and when it was looked at."""
        now = self._refill()
        before = self._asked.get(service, -math.inf)
        self._asked[service] = now
        return before, now, self._last.setdefault(service, -math.inf)

    def _refill(self) -> float:
        now = self.clock()
        passed = now - self._counted
        self._left = min(self.burst, self._left + passed * (self.rate - EXTRA))
        self._extra = min(EXTRA * 60, self._extra + passed * EXTRA)
        self._counted = now
        return now
