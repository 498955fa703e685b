"""How many replicas a revision should have: the HTTP scale rule, pure. `scheduler` feeds it the
ingress's counts.

Out: the mean of requests in flight over 15 s, divided by the rule's concurrency; the first request
counts at once. In: to zero after a cooldown period without need; from many to fewer after five
minutes without need for the others (HPA's own window, which cannot be set). A boot counts as need
at its beginning only, so a cooldown shorter than the boot kills it, as in Azure. An HTTP rule does
not use `pollingInterval`.
"""

import math
from collections import deque
from dataclasses import dataclass, field

_WINDOW_S = 15.0
_STABILIZATION_S = 300.0


@dataclass
class Demand:
    """The recent need of one revision. All times are Azure's seconds on a monotonic clock."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)
    needs: deque[tuple[float, int]] = field(default_factory=deque)

    def observe(self, now: float, in_flight: int) -> None:
        """Takes the number of requests in flight, waiting ones included."""
        self.samples.append((now, in_flight))
        while len(self.samples) > 1 and self.samples[1][0] < now - _WINDOW_S:
            self.samples.popleft()

    def need(self, now: float, replicas: int) -> None:
        """Remembers that this many replicas were needed now."""
        while self.needs and self.needs[-1][1] <= replicas:
            self.needs.pop()
        self.needs.append((now, replicas))

    def most(self, since: float) -> int:
        """The most replicas that were needed since then."""
        return next((replicas for at, replicas in self.needs if at >= since), 0)

    def forget(self, before: float) -> None:
        while self.needs and self.needs[0][0] < before:
            self.needs.popleft()

    def mean(self, now: float) -> float:
        """Requests in flight averaged over the window; before the first sample there were none."""
        total, until = 0.0, now
        for at, in_flight in reversed(self.samples):
            begin = max(at, now - _WINDOW_S)
            total += in_flight * (until - begin)
            until = begin
        return total / _WINDOW_S


def desired(
    demand: Demand, now: float, *, minimum: int, maximum: int, concurrency: int, cooldown_s: float
) -> int:
    """The number of replicas wanted now."""
    in_flight = demand.samples[-1][1] if demand.samples else 0
    wanted = max(math.ceil(demand.mean(now) / max(concurrency, 1) - 1e-9), 1 if in_flight else 0)
    wanted = min(wanted, maximum)
    if wanted:
        demand.need(now, wanted)
    demand.forget(now - max(cooldown_s, _STABILIZATION_S))
    active = demand.most(now - cooldown_s) > 0 or minimum > 0
    kept = max(1, demand.most(now - _STABILIZATION_S)) if active else 0
    return max(minimum, min(max(wanted, kept), maximum))
