"""Who is read from ARM and when: a fifth of ARM's reads, what moves first, what is settled in turn.
Time is a number.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from reconciler.kinds.service.budget import RATE
from reconciler.kinds.service.turns import Turns

RESYNC = 60.0


class Services:
    """Services that ask at each resync, always in the same order, and what was read for them."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.turns = Turns(lambda: self.now)
        self.names = [f"s{number:04}" for number in range(count)]
        self.looked: Counter[str] = Counter()
        self.reads = 0
        self.longest = 0.0
        self._last = dict.fromkeys(self.names, 0.0)

    def resync(self, seconds: float = RESYNC) -> None:
        self.now += seconds
        for name in self.names:
            if self.turns.settled(name):
                reads = 2 if self.turns.detailed(name) else 1
                self.turns.looked(name, reads)
                self.reads += reads
                self.looked[name] += 1
                self.longest = max(self.longest, self.now - self._last[name])
                self._last[name] = self.now


@pytest.mark.parametrize(
    ("count", "within"),
    [(1, 66), (9, 66), (100, 66), (150, 66), (400, 3 * 66), (1000, 300)],
)
def test_a_dead_revision_is_seen_in_time(count, within):
    """Up to 150 services are looked at in every resync, so that a dead one is noticed in the next;
    1,000 are all looked at within five minutes. No more than 5 reads a second are spent.
    """
    services, chance = Services(count), random.Random(7)
    for _ in range(60):
        services.resync(RESYNC * chance.uniform(0.97, 1.0))
    assert services.longest <= within
    assert len(services.looked) == count
    assert services.reads <= RATE * services.now + services.turns.budget.burst


def test_what_moves_is_looked_at_although_others_wait():
    """A thousand settled services do not keep a rollout from being followed, nor the rollout the
    others from their turn.
    """
    services = Services(1000)
    polled = 0
    for _ in range(20):
        services.resync()
        until = services.now + 55
        while services.now < until:
            assert services.turns.moves("moving")
            services.turns.looked("moving", 2)
            polled += 1
            services.now += max(services.turns.pause(), 2.0)
    assert polled > 20 * 20
    assert min(services.looked.values()) >= 3


def test_many_that_move_are_looked_at_less_often():
    """A hundred services that never come up do not use up ARM's reads."""
    services = Services(0)
    reads = 0
    due = dict.fromkeys(range(100), 0.0)
    while services.now < 3600:
        services.now += 1.0
        for name in due:
            if due[name] <= services.now and services.turns.moves(str(name)):
                services.turns.looked(str(name), 2)
                reads += 2
                due[name] = services.now + services.turns.pause()
    assert reads <= RATE * 3600 + services.turns.budget.burst + 2
    assert min(due.values()) > 3600 - 600


def test_a_hurry_goes_ahead_of_everybody():
    """What an own write has changed, or what does not answer, is looked at whatever was spent."""
    services = Services(1000)
    services.resync()
    services.now += 5
    refused = [name for name in services.names if not services.turns.settled(name)]
    services.turns.hurry(refused[0])
    assert services.turns.settled(refused[0])
    services.turns.looked(refused[0], 2)
    services.now += 5
    assert not services.turns.settled(refused[0])


def test_a_second_look_in_the_same_pass_costs_nothing():
    """The pass that wakes a service twice shares its lists."""
    services = Services(1)
    services.resync()
    before = services.turns.budget.left
    services.now += 1.0
    assert services.turns.settled(services.names[0])
    services.turns.looked(services.names[0], 2)
    assert services.turns.budget.left >= before


def test_a_service_that_is_gone_takes_nobodys_turn():
    """After most services are deleted the others are looked at in every resync."""
    services = Services(1000)
    for _ in range(5):
        services.resync()
    services.names = services.names[:100]
    services.resync()
    before = services.looked.copy()
    for _ in range(5):
        services.resync()
    assert all(services.looked[name] == before[name] + 5 for name in services.names)
