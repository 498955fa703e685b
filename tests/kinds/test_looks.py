"""Who is looked at in full: how often ARM may be asked about what is settled, and whose
turn it is.
"""

from __future__ import annotations

from collections import Counter

import pytest

from reconciler.kinds.looks import Looks


@pytest.mark.parametrize("services", [1, 2, 3, 100])
def test_every_settled_service_gets_its_turn_within_the_budget(services):
    """Two services are looked at per resync, although they always ask in the same order, and none
    waits for ever.
    """
    now = 0.0
    looks = Looks(None, None, lambda: now, budget=2, period=50.0)
    seen: Counter[int] = Counter()
    for _ in range(services * 3):
        now += 60.0
        allowed = [service for service in range(services) if looks._may_spend(str(service))]
        assert len(allowed) <= 2
        seen.update(allowed)
    assert set(seen) == set(range(services))
    assert min(seen.values()) >= 3


def test_a_service_looked_at_a_moment_ago_is_looked_at_again_for_nothing():
    """The pass that wakes a service twice shares one listing, so the second look costs no call and
    no budget.
    """
    now = 100.0
    looks = Looks(None, None, lambda: now, budget=1, period=50.0)
    assert looks._may_spend("a")
    now += 1.0
    assert looks._may_spend("a")
    assert not looks._may_spend("b")


def test_a_service_that_is_gone_takes_nobodys_turn():
    """After most services are deleted the others are looked at all the more often."""
    now = 0.0
    looks = Looks(None, None, lambda: now, budget=1, period=50.0)
    seen: Counter[str] = Counter()
    for round_ in range(12):
        now += 60.0
        seen.update(name for name in ("abcd" if round_ < 2 else "ad") if looks._may_spend(name))
    assert seen["a"] >= 5
    assert seen["d"] >= 5
