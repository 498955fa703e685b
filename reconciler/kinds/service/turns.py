"""Shares the reads of ARM that `budget` allows among the services, as a round robin. `looks` asks.
Pure; the clock is given. A service is *settled* when only its wanted revision is active and that
one serves; every other service *moves*.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice, takewhile

from reconciler.kinds.service.budget import BURST, EXTRA, RATE, RESERVE, TURN, Budget

SAME_PASS = 2.0  # seconds in which a second look costs nothing, because it shares the first's lists
HASTE = 12.5  # reads a second for services that move, on credit: half of what ARM gives back
SHORTEST, LONGEST = 58.0, 66.0  # seconds of a resync that is early, and of one that is late
DEADLINE = 298.0  # seconds after a look when the next one should have been
AHEAD = 1  # reads that a scope may take ahead for a service that would be late at its next
LATELY = 600.0  # seconds for which a service that has begun to move is followed at any cost
GONE = 600.0  # seconds after which a service that does not ask is forgotten


@dataclass
class _Scope:
    """The services of an Environment, which ask together: when each was looked at, in the order of
    time, and the reads that are kept for their turns.
    """

    last: OrderedDict[str, float] = field(default_factory=OrderedDict)
    kept: float = 0.0
    counted: float = 0.0

    def earn(self, budget: Budget) -> None:
        """Keep what came since the last time, but no more than for a resync that is late."""
        earned = (budget.each - self.counted) * len(self.last)
        most = budget.pace * len(self.last) * LONGEST + 1
        self.kept, self.counted = min(most, self.kept + earned), budget.each


class Turns:
    """Services that move (starting, changed, failing) go first, on credit if necessary, because a
    start looks at all services at once. The others are looked at in turn; within a scope (an
    Environment) the one that has waited longest is next. A service that moves has its turn as well,
    so that one that fails for long is not looked at less often.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        read: Callable[[], int] | None = None,
        rate: float = RATE,
        burst: int = BURST,
    ) -> None:
        self.budget = Budget(clock, read, rate, burst)
        self._asked: OrderedDict[str, float] = OrderedDict()  # by service, in the order of time
        self._scopes: defaultdict[str, _Scope] = defaultdict(_Scope)
        self._in: dict[str, str] = {}  # the scope of each service
        self._detailed: dict[str, float] = {}
        self._moving: dict[str, float] = {}  # since when, in the order of time
        self._urgent: set[str] = set()
        self._in_turn: set[str] = set()
        self._scarce = False  # the budget does not hold every list of every service

    def hurry(self, service: str) -> None:
        """Let the service be looked at again at once, because it was written to or the last look
        may be wrong.
        """
        self._urgent.add(service)

    def settled(self, service: str, scope: str = "") -> bool:
        """Whether a settled service may be looked at now. Services of a `scope` ask together."""
        self._moving.pop(service, None)
        before, now, mine = self._ask(service, scope)
        if service in self._urgent or now - mine < SAME_PASS:
            return True
        return self._has_turn(service, before, now, mine)

    def moves(
        self, service: str, scope: str = "", *, news: bool = False, patience: float = 0.0
    ) -> bool:
        """Whether a service that moves may be looked at now: at once where its app has `news`
        (another revision is ready than was seen), else as often as the budget allows for all, but
        not before `patience` seconds have passed.
        """
        before, now, mine = self._ask(service, scope)
        self._moving.setdefault(service, now)
        if service in self._urgent:
            return True
        if now - mine < patience:
            return False
        if now - mine < SAME_PASS:
            return True
        is_due = news or self.rich() or now - mine >= self._interval()
        if is_due and (self.budget.left > (-RESERVE if news else 0) or self.budget.credit > 0):
            return True
        if news and self._kept(service) >= 1:
            self._in_turn.add(service)
            return True
        return now - mine >= TURN / 2 and self._has_turn(service, before, now, mine)

    def detailed(self, service: str) -> bool:
        """Whether a look at a settled service reads its replicas too, although its revisions are
        unchanged. Where reads are scarce, services do so in turn, from a budget of their own: from
        the common one it would cost another service its turn.
        """
        if not self._scarce:
            return True
        now, before = self._refill(), self._detailed.get(service, -math.inf)
        scope = self._scope(service)
        if now - before > 1.5 * LONGEST and scope.kept > len(scope.last):
            self._detailed[service] = now  # all could be looked at once more
            return True
        if self.budget.extra < 1 or now - before < len(self._asked) / EXTRA:
            return False
        self._detailed[service] = now
        self.budget.extra -= 1
        scope.kept += 1  # which `looked` takes again
        return True

    def looked(self, service: str, reads: int) -> None:
        """Count a look that was taken."""
        now = self._refill()
        self._urgent.discard(service)
        scope = self._scope(service)
        if now - scope.last.get(service, -math.inf) >= SAME_PASS:
            if service in self._in_turn:
                # Services that fail must not take the turns of others in their scope.
                scope.kept -= min(1, reads) if service in self._moving else reads
                saved = max(0.0, reads - 1.0) if service in self._moving else 0.0
                if scope.kept < 0:  # a first look, for which saved reads may be used
                    saved += (over := min(-scope.kept, self.budget.spare))
                    scope.kept += over
                self.budget.spend_turn(reads, saved)
            else:
                self.budget.spend(reads, on_credit=service in self._moving)
            scope.last[service] = now
            scope.last.move_to_end(service)
        self._in_turn.discard(service)

    def pause(self) -> float:
        """Seconds until a service that moves should ask again, which costs a look at its app."""
        return 0.5 if self.rich() else max(SAME_PASS, len(self._moving) / HASTE)

    def rich(self) -> bool:
        """Whether more than half is left after a whole look at all services that move."""
        self._refill()
        return self.budget.left - 2 * len(self._moving) > self.budget.burst / 2

    def _interval(self) -> float:
        """Seconds between two looks at a service that moves. Together they take half of ARM's reads
        as long as there is credit, then a fifth of the rate.
        """
        speed = HASTE if self.budget.credit > 0 else self.budget.rate / 5
        return max(SAME_PASS, 2 * len(self._moving) / speed)

    def _has_turn(self, service: str, before: float, now: float, mine: float) -> bool:
        """Whether it is the service's turn. Where both lists of all services do not fit into a
        resync, a look reads one.
        """
        # How many services there are is known once all have asked.
        self._scarce = before == -math.inf or SHORTEST * self.budget.pace < 2
        free = self._kept(service)
        if mine == -math.inf:
            free += self.budget.spare
        elif DEADLINE - (now - before) < now - mine:
            free += AHEAD
        looks = int(free / (1 if self._scarce else 2))
        if looks <= 0 or self._more_wait(service, looks, mine, before):
            return False
        self._in_turn.add(service)
        return True

    def _more_wait(self, service: str, looks: int, mine: float, before: float) -> bool:
        """Whether so many services of its scope have waited longer than the one that was looked at
        at `mine`: they come in the same order every time, and without turns the first would take
        the whole budget. One that has not asked since this one did (`before`) no longer exists.
        Each service asks this at each pass, so most answers come without counting.
        """
        last = self._scope(service).last
        if _nth(last.values(), looks - 1, math.inf) >= mine:
            return False
        longer = takewhile(lambda other: last[other] < mine, last)
        waiting = (last[other] for other in longer if self._asked[other] >= before)
        return _nth(waiting, looks - 1, math.inf) < mine

    def _ask(self, service: str, scope: str) -> tuple[float, float, float]:
        """When the service asked before, the present, and when it was looked at."""
        now = self._refill()
        if self._in.get(service, scope) != scope:
            self._forget(service)
        before = self._asked.get(service, -math.inf)
        self._asked[service], self._in[service] = now, scope
        self._asked.move_to_end(service)
        last = self._scopes[scope].last
        if service not in last:
            last[service] = -math.inf
            last.move_to_end(service, last=False)
        return before, now, last[service]

    def _scope(self, service: str) -> _Scope:
        return self._scopes[self._in.get(service, "")]

    def _kept(self, service: str) -> float:
        """Reads for the turns of the service and of those that ask with it."""
        scope = self._scope(service)
        scope.earn(self.budget)
        return scope.kept

    def _refill(self) -> float:
        newest = next(reversed(self._moving.values()), -math.inf)
        lately = self.budget.clock() - newest < LATELY
        now = self.budget.refill(len(self._asked), len(self._moving), lately=lately)
        while self._asked and now - next(iter(self._asked.values())) > GONE:
            self._forget(next(iter(self._asked)))
        return now

    def _forget(self, service: str) -> None:
        """Forget a service that is gone, or that is in another scope now."""
        self._scopes[self._in.pop(service)].last.pop(service, None)
        for known in (self._asked, self._detailed, self._moving):
            known.pop(service, None)
        self._urgent.discard(service)


def _nth(times: Iterable[float], n: int, default: float) -> float:
    return next(islice(times, n, None), default)
