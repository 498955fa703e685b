"""The looks of a start, for 1 to 1,000 services: how soon all are Ready, how soon one that dies is
noticed, and what ARM is asked for it. Time is a number.
"""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from reconciler.api.outputs import AppOutputs
from reconciler.kinds.service.budget import RATE
from reconciler.kinds.service.looks import Looks, _settled
from reconciler.kinds.service.turns import Turns

START = datetime(2026, 1, 1, tzinfo=UTC)
WRITES = 10.0  # apps made in a second: what ARM gives back
RESYNC = 60.0


class World:
    """Services that are made one after the other and are healthy `boot` seconds later. Each is
    looked at when its last look said so, and in every resync.
    """

    def __init__(self, count: int, boot: float) -> None:
        self.now, self.reads = 0.0, 0
        arm = SimpleNamespace(
            subscription_id="s",
            inventory=SimpleNamespace(list=self._list, is_new=lambda _: False),
            time=SimpleNamespace(now=lambda: START + timedelta(seconds=self.now)),
        )
        self.turns = Turns(lambda: self.now)
        self.looks = Looks(arm, SimpleNamespace(), self.turns, SimpleNamespace())
        self.specs = [_spec(f"web-{number:04}") for number in range(count)]
        self.healthy = {s.name: n / WRITES + boot for n, s in enumerate(self.specs)}
        self.before: dict[str, AppOutputs] = {}
        self.ready: dict[str, float] = {}
        self.dead: dict[str, float] = {}
        self.noticed: dict[str, float] = {}
        self.shared: dict = {}
        self.due = [(n / WRITES, n) for n in range(count)]
        self.resync = RESYNC

    async def run(self, until: float) -> None:
        while min(self.due[0][0] if self.due else self.resync, self.resync) <= until:
            if not self.due or self.resync <= self.due[0][0]:
                self.now, made = max(self.now, self.resync), len(self.before)
                self.resync += RESYNC
                for spec in self.specs[:made]:
                    await self._look(spec)
            else:
                at, number = heapq.heappop(self.due)
                self.now = max(self.now, at)
                if await self._look(self.specs[number]):
                    again = max(self.turns.pause(), 0.5)
                    heapq.heappush(self.due, (self.now + again, number))
        self.now = until

    async def _look(self, spec) -> bool:
        """Whether it is to be looked at again before the next resync."""
        one = f"{spec.name}--one"
        ready = one if self.now >= self.healthy[spec.name] else None
        found = {"properties": {"latestRevisionName": one, "latestReadyRevisionName": ready}}
        seen = await self.looks.look(spec, found, self.before.get(spec.name), None)
        self.before[spec.name] = seen.outputs(AppOutputs())
        if seen.serves:
            self.ready.setdefault(spec.name, self.now)
        elif spec.name in self.dead:
            self.noticed.setdefault(spec.name, self.now - self.dead[spec.name])
        return not _settled(spec, found, self.before[spec.name])

    async def _list(self, part, scope):
        if (shared := self.shared.get((part, scope))) and self.now - shared[0] <= 2.0:
            return shared[1]
        answer = self._answer(part, scope)
        self.shared[part, scope] = (self.now, answer)
        return answer

    def _answer(self, part, scope):
        self.reads += 1
        name = scope.split("/")[-1 if part.name == "REVISION" else -3]
        up = self.now >= self.healthy[name] and name not in self.dead
        if part.name == "REVISION":
            health = "Healthy" if up else "None"
            properties = {"active": name not in self.dead, "trafficWeight": 100}
            rest = {"healthState": health, "replicas": int(up)}
            return [{"name": f"{name}--one", "properties": {**properties, **rest}}]
        return [{"name": f"{name}--one-a", "properties": {"containers": [{"ready": up}]}}]


def _spec(name):
    return SimpleNamespace(
        service=name,
        name=name,
        resource_group="rg",
        environment="dev",
        engine=None,
        template={"scale": {}},
        revision=f"{name}--one",
        serves_model=False,
        scales_to_zero=False,
        startup_seconds=0,
    )


@pytest.mark.parametrize(
    ("count", "boot", "late", "within"),
    [
        (1, 0.2, 5, 2 * RESYNC),
        (10, 30, 10, 2 * RESYNC),
        (100, 120, 30, 2 * RESYNC),
        (1000, 30, 200, 300),
    ],
)
async def test_a_start_ends_and_does_not_blind(count, boot, late, within):
    """All are Ready soon after the last is healthy; one that dies then is noticed as soon as at any
    other time; and the first hour takes a fifth of ARM's reads.
    """
    world = World(count, boot)
    await world.run(max(world.healthy.values()) + late)
    assert len(world.ready) == count
    for at in (world.now, world.now + 1200):
        await world.run(at)
        chosen = world.specs[:: max(1, count // 10)]
        world.dead = {spec.name: world.now for spec in chosen}
        world.noticed.clear()
        await world.run(world.now + within)
        assert len(world.noticed) == len(chosen)
        world.dead = {}
    await world.run(3600)
    assert world.reads <= RATE * 3600 + world.turns.budget.burst


async def test_a_revision_that_boots_is_looked_at_whole_once_in_a_minute():
    """Where many boot, their replicas can wait; but not for longer, because they say why a boot
    fails.
    """
    world = World(300, 1000.0)
    await world.run(400)
    assert all(each.arm.replicas_at for each in world.before.values())
