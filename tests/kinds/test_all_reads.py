"""All reads of one daemon at rest, for sizes up to 1,000 services in 20 Environments and beyond: at
most 5 a second, and every service has its look in time. Time is a number.
"""

from __future__ import annotations

import bisect
import math
import random
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import pytest

from reconciler.api.kinds import Kind
from reconciler.engine.external import ObjectKey
from reconciler.engine.spread import parts
from reconciler.kinds.service.budget import RATE
from reconciler.kinds.service.turns import LATELY, Turns

RESYNC = 60.0
TOGETHER = (Kind.RESOURCE_GROUP, Kind.WORKSPACE, Kind.STORAGE_ACCOUNT, Kind.ENVIRONMENT)
PAGE = 100  # container apps
WORKERS = 8
WINDOW = 120.0


class Daemon:
    """Resyncs as `engine.spread` divides them: first what all Environments share, then each one's
    objects in its part of the interval. Workers look at the same time and pay afterwards.
    """

    def __init__(self, sizes: list[int], seed: int, *, failing: int = 0) -> None:
        self.now, self.settled, self.chance = 0.0, 0.0, random.Random(seed)
        self.reads: list[float] = []
        self.turns = Turns(lambda: self.now, lambda: len(self.reads))
        self.environments = [
            [f"{number}-{each}" for each in range(size)] for number, size in enumerate(sizes)
        ]
        self.keys = [
            ObjectKey(kind, f"{number}/{kind}")
            for number in range(len(sizes))
            for kind in (*TOGETHER, Kind.SHARE, Kind.STORAGE)
        ]
        self.records = {key: SimpleNamespace(scope=key.name.partition("/")[0]) for key in self.keys}
        for number, names in enumerate(self.environments):
            apps = [ObjectKey(Kind.APP, name) for name in names]
            self.keys += apps
            self.records |= dict.fromkeys(apps, SimpleNamespace(scope=f"{number}"))
        self.failing = {name for every in self.environments for name in every[:failing]}
        self.looked: dict[str, list[float]] = {}

    def start(self) -> None:
        """Each service moves, and is looked at whole, some of them several times."""
        for number, names in enumerate(self.environments):
            for name in names:
                self.now += 0.1
                self._read(self.chance.randint(2, 5))  # writes, operations
                if self.turns.moves(name, f"{number}"):
                    self._look(name, 2)
                self._read(1)

    def run(self, until: float) -> None:
        """Resyncs, each part of which begins in its time although the last may not have ended."""
        due = self.now
        while self.now < until:
            length = RESYNC * self.chance.uniform(0.98, 1.0)
            for part in parts(self.keys, self.records, TOGETHER):
                due += length * len(part) / len(self.keys)
                self.now = max(self.now, due)
                self._pass(part)

    def _pass(self, part: list[ObjectKey]) -> None:
        kinds = Counter((key.kind, self.records[key].scope) for key in part)
        self._read(len({kind for kind, _ in kinds if kind in TOGETHER}))
        apps = [key for key in part if key.kind is Kind.APP]
        for (kind, _), count in kinds.items():
            if kind not in TOGETHER:
                self._read(math.ceil(count / PAGE))
        for first in range(0, len(apps), WORKERS):
            self.now += 0.02
            chosen = [key for key in apps[first : first + WORKERS] if self._turn(key)]
            for key in chosen:
                detailed = key.name in self.failing or self.turns.detailed(key.name)
                self._look(key.name, 2 if detailed else 1)

    def _turn(self, key: ObjectKey) -> bool:
        ask = self.turns.moves if key.name in self.failing else self.turns.settled
        return ask(key.name, self.records[key].scope)

    def _look(self, name: str, reads: int) -> None:
        self.now += 0.001
        self._read(reads)
        self.turns.looked(name, reads)
        self.looked.setdefault(name, []).append(self.now)

    def _read(self, count: int) -> None:
        self.reads += [self.now] * count

    def most(self, since: float) -> int:
        """The most reads in any window that begins after `since`."""
        ends = (bisect.bisect_left(self.reads, at + WINDOW) for at in self.reads)
        found = [end - n for n, end in enumerate(ends) if self.reads[n] >= since]
        return max(found, default=0)

    def mean(self, after: float = 0.0) -> float:
        """Reads a second at rest."""
        since = self.settled + after
        return sum(at > since for at in self.reads) / (self.now - since)

    def longest(self, since: float) -> float:
        """The longest time between two looks at a service, the one under way included."""
        gaps = []
        for names in self.environments:
            for name in names:
                times = [since, *(at for at in self.looked.get(name, ()) if at >= since), self.now]
                gaps += [after - before for before, after in pairwise(times)]
        return max(gaps)


def even(services: int, environments: int) -> list[int]:
    return [len(range(n, services, environments)) for n in range(environments)]


def at_rest(services: int, environments: int, *, seed: int = 1, failing: int = 0) -> Daemon:
    """Half an hour of it, which begins two minutes after the start."""
    daemon = Daemon(even(services, environments), seed, failing=failing)
    daemon.start()
    daemon.settled = daemon.now + 2 * RESYNC
    daemon.run(daemon.settled + 1800)
    return daemon


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("services", "environments", "within"),
    [
        (1, 1, 1.1 * RESYNC),
        (20, 20, 1.1 * RESYNC),
        (100, 1, 1.1 * RESYNC),
        (100, 20, 1.1 * RESYNC),
        (130, 2, 2.2 * RESYNC),
        (300, 5, 240),
        (700, 20, 300),
        (1000, 5, 300),
        (1000, 20, 300),
    ],
)
def test_all_reads_hold_the_rate_and_no_look_is_late(services, environments, within, seed):
    """Lists and looks together stay within 5 reads a second in any two minutes, and every service is
    looked at within five minutes, and with up to 100 services in every resync.
    """
    daemon = at_rest(services, environments, seed=seed)
    assert daemon.longest(daemon.settled) <= within
    assert daemon.most(daemon.settled) <= RATE * WINDOW


@pytest.mark.parametrize("services", [400, 700, 1000])
def test_one_large_environment_reads_in_parts(services):
    """It has no other Environments' time between its parts: 5 a second hold over half an hour, and a
    third more in two minutes.
    """
    daemon = at_rest(services, 1)
    assert daemon.longest(daemon.settled) <= 300
    assert daemon.mean() <= RATE
    assert daemon.most(daemon.settled) <= 1.3 * RATE * WINDOW


def test_where_both_cannot_be_the_look_wins():
    """With 40 Environments the lists leave too little for 1,000 services; their turns come first."""
    daemon = at_rest(1000, 40)
    assert daemon.longest(daemon.settled) <= 300
    assert RATE < daemon.mean() <= 6


def test_beyond_a_thousand_services_a_turn_takes_longer():
    """Twice as many wait twice as long, and cost no more reads."""
    daemon = at_rest(2000, 20)
    assert daemon.longest(daemon.settled) <= 11.5 * RESYNC
    assert daemon.mean() <= RATE


@pytest.mark.parametrize(("services", "environments"), [(100, 2), (1000, 20)])
def test_what_fails_for_long_is_looked_at_too(services, environments):
    """Some services of each Environment never come up. They and the others have their looks in
    time, and what follows them more closely ends after ten minutes.
    """
    daemon = at_rest(services, environments, failing=3)
    assert daemon.longest(daemon.settled) <= 300
    assert daemon.mean(after=LATELY) <= RATE


@pytest.mark.parametrize(("services", "environments"), [(100, 2), (1000, 20), (1000, 40)])
def test_what_begins_to_move_is_followed_although_nothing_is_left(services, environments):
    """Five services are changed at the limit of the budget, the credit of the start is spent: each
    is looked at within a quarter of a minute, and again and again.
    """
    daemon = at_rest(services, environments)
    daemon.turns.budget.credit, daemon.turns.budget.left = 0.0, 0.0
    began = daemon.now
    moving = [f"{number % environments}-{number // environments}" for number in range(5)]
    while daemon.now < began + 60:
        daemon.now += 2
        for name in moving:
            if daemon.turns.moves(name, name.partition("-")[0]):
                daemon._look(name, 2)
    for name in moving:
        times = [began, *(at for at in daemon.looked[name] if at > began)]
        assert len(times) >= 4
        assert max(after - before for before, after in pairwise(times)) <= 25
        assert times[1] - began <= 15


def test_a_restart_looks_at_what_was_ready():
    """A daemon that knows its services from before looks at a hundred in its first resync."""
    daemon = Daemon(even(100, 2), 1)
    daemon.run(RESYNC)
    assert len(daemon.looked) == 100
