"""Whose turn it is to be read from ARM: a budget of reads for all services together, which `looks`
spends. Pure; the clock is given.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice, takewhile

RATE = 5.0  # reads a second: a fifth of the 25 that ARM gives back to one principal
BURST = 330  # saved up between resyncs, which ask for all services at once
SAME_PASS = 2.0  # seconds in which a second look costs nothing, because it shares the first's lists
RESERVE = 30  # reads that settled services leave to those that move
EXTRA = 0.25  # reads a second for the replicas of settled services, where reads are scarce
HASTE = 12.5  # reads a second for services that move, on credit: half of what ARM gives back
CREDIT = 1650  # reads that services that move may spend ahead, once an hour
PAID_BACK = 0.5  # reads a second: the credit is paid back in 55 minutes
HOUR = 3600.0


class Turns:
    """Services that move (unserved, changed, failing) go first, if need be on credit, because a
    start looks at all services at once. Settled ones share what is left; the one that has waited
    longest is next. Paying the credit back takes a tenth of the rate, and only then there is a new
    one. So the rate holds over an hour, and a start does not keep a dead revision unnoticed.
    """

    def __init__(self, clock: Callable[[], float], rate: float = RATE, burst: int = BURST) -> None:
        self.clock, self.rate, self.burst = clock, rate, burst
        self._left, self._counted = float(burst), clock()
        # By service, in the order of time: when it was looked at, and when it asked.
        self._last: OrderedDict[str, float] = OrderedDict()
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._detailed: dict[str, float] = {}
        self._extra = 0.0
        self._credit, self._owed, self._opened = float(CREDIT), 0.0, -math.inf
        self._moving: dict[str, float] = {}
        self._urgent: set[str] = set()
        self._scarce = False  # the budget does not hold every list of every service

    def hurry(self, service: str) -> None:
        """Look again at once, because it was written to or the last look may be wrong."""
        self._urgent.add(service)

    def settled(self, service: str) -> bool:
        """Whether a settled service may be looked at now."""
        self._moving.pop(service, None)
        before, now, mine = self._ask(service)
        if service in self._urgent or now - mine < SAME_PASS:
            return True
        if self._left - RESERVE < 1:
            return False
        # Passes come in the same order every time: without turns the first services would take the
        # whole budget. A tenth less than saved up: a resync may come that much early. How many
        # services there are is known once all have asked.
        enough = int(0.9 * (self.burst - RESERVE) / 2)
        present = reversed(self._asked.values())
        self._scarce = before == -math.inf or _nth(present, enough, -math.inf) >= before
        looks = int((self._left - RESERVE) / (1 if self._scarce else 2))
        return looks > 0 and not self._more_wait(looks, mine, before)

    def _more_wait(self, looks: int, mine: float, before: float) -> bool:
        """Whether so many services have waited longer than the one that was looked at at `mine`.
        One that has not asked since this one did (`before`) no longer exists. Each of a thousand
        services asks this at each pass, so most answers come without counting.
        """
        if _nth(self._last.values(), looks - 1, math.inf) >= mine:
            return False
        longer = takewhile(lambda other: self._last[other] < mine, self._last)
        waiting = (self._last[other] for other in longer if self._asked[other] >= before)
        return _nth(waiting, looks - 1, math.inf) < mine

    def moves(self, service: str, *, news: bool = False, patience: float = 0.0) -> bool:
        """Whether a service that moves may be looked at now: at once where its app has `news`
        (another revision is ready than was seen), else as often as the budget allows for all, but
        not before `patience` seconds have passed.
        """
        _, now, mine = self._ask(service)
        self._moving[service] = now
        if service in self._urgent:
            return True
        if now - mine < patience:
            return False
        if now - mine < SAME_PASS:
            return True
        if not news and not self.rich() and now - mine < self._interval():
            return False
        return self._left > (-RESERVE if news else 0) or self._credit > 0

    def detailed(self, service: str) -> bool:
        """Whether a look at a settled service reads its replicas too, although its revisions are
        unchanged. Where reads are scarce, services do so in turn, from a budget of their own: from
        the common one it would cost another service its turn.
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
            self._spend(reads, on_credit=service in self._moving)
            self._last[service] = now
            self._last.move_to_end(service)

    def pause(self) -> float:
        """Seconds until a service that moves should ask again, which costs a look at its app."""
        return 0.5 if self.rich() else max(SAME_PASS, len(self._moving) / HASTE)

    def rich(self) -> bool:
        """Whether more than half is left after a whole look at all services that move."""
        self._refill()
        return self._left - 2 * len(self._moving) > self.burst / 2

    def _interval(self) -> float:
        """Seconds between two looks at a service that moves. Together they take half of ARM's reads
        as long as there is credit, then a fifth of the rate.
        """
        speed = HASTE if self._credit > 0 else self.rate / 5
        return max(SAME_PASS, 2 * len(self._moving) / speed)

    def _spend(self, reads: int, *, on_credit: bool) -> None:
        """Take reads from the budget. On credit, those beyond it (but for the reserve) are lent."""
        if on_credit:
            own = max(0.0, self._left - RESERVE)
            lent = min(self._credit, max(0.0, reads - own))
            if lent and self._credit == CREDIT:
                self._opened = self._counted
            self._credit -= lent
            self._owed += lent
            self._left += lent
        self._left -= reads

    def _ask(self, service: str) -> tuple[float, float, float]:
        """When the service asked before, the present, and when it was looked at."""
        now = self._refill()
        before = self._asked.get(service, -math.inf)
        self._asked[service] = now
        self._asked.move_to_end(service)
        if service not in self._last:
            self._last[service] = -math.inf
            self._last.move_to_end(service, last=False)
        return before, now, self._last[service]

    def _refill(self) -> float:
        now = self.clock()
        passed = now - self._counted
        paid = min(self._owed, passed * PAID_BACK)
        self._owed -= paid
        if not self._owed and now - self._opened >= HOUR:
            self._credit = float(CREDIT)
        self._left = min(self.burst, self._left + passed * (self.rate - EXTRA) - paid)
        self._extra = min(EXTRA * 60, self._extra + passed * EXTRA)
        self._counted = now
        return now


def _nth(times: Iterable[float], n: int, default: float) -> float:
    return next(islice(times, n, None), default)
