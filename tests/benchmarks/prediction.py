"""How well a gateway predicts starts: 30 starts of each of several services whose stages take as long
as those of large models do, in virtual time. The gateway's own code wakes, follows the replica's
reports and learns; the service is a stand-in that takes its time.
"""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import looptime

from serving.catalogue import STAGES, ReplicaReport, Stage
from serving.gateway.backend import TRUST, Backend, Senses
from serving.gateway.learning import LearnedStarts
from serving.gateway.routes import RoutedService, StartPrediction
from tests.benchmarks.report import Figure, Section, median, p95

STARTS = 30
# Predicted from the size of the model at the slowest share, as the daemon publishes it.
_PUBLISHED: dict[Stage, float] = {"image": 112, "runtime": 57}


@dataclass(frozen=True)
class Habit:
    """What the stages of a service take: their medians, how much they vary (the sigma of a
    log-normal), and how often the image is there already.
    """

    name: str
    published: float  # seconds of weights
    stages: dict[Stage, float]
    sigma: float
    cached: float = 0.0

    def start(self, chance: random.Random) -> dict[Stage, float]:
        found = {
            stage: seconds * math.exp(chance.gauss(0, self.sigma))
            for stage, seconds in self.stages.items()
        }
        if chance.random() < self.cached:
            found["image"] = 6.0
        return found


_LARGE: dict[Stage, float] = {
    "image": 112, "runtime": 50, "weights": 257, "compile": 60, "adapters": 4, "first_token": 3
}  # fmt: skip
_SMALL: dict[Stage, float] = {
    "image": 100, "runtime": 45, "weights": 30, "compile": 40, "adapters": 2, "first_token": 1
}  # fmt: skip
HABITS = (
    Habit("58 GiB, a fast share, steady", 990, _LARGE, 0.08),
    Habit("58 GiB, a fast share, uneven", 990, _LARGE, 0.25),
    Habit("7 GiB, image sometimes there", 120, _SMALL, 0.12, cached=0.3),
)


@dataclass
class Errors:
    """Of predictions, as shares of the length of the start: as published, as learned when the start
    began, and of every five seconds under way, when reports tell the stage.
    """

    published: list[float] = field(default_factory=list)
    learned: list[float] = field(default_factory=list)
    under_way: list[float] = field(default_factory=list)


class SimulatedService:
    """Sleeps until it is asked, then goes through its stages."""

    def __init__(self) -> None:
        self.stages: dict[Stage, float] = {}
        self.began: float | None = None

    async def awake(self, _: RoutedService) -> bool:
        now = asyncio.get_running_loop().time()
        if self.began is None:
            self.began = now
        await asyncio.sleep(max(0.0, self.began + sum(self.stages.values()) - now))
        return True

    async def reports(self, _: RoutedService) -> tuple[ReplicaReport, ...]:
        if self.began is None:
            return ()
        elapsed = asyncio.get_running_loop().time() - self.began - self.stages["image"]
        if elapsed < 0:
            return ()
        now, over, rest, stage = datetime.now(UTC), dict[Stage, float](), elapsed, None
        for each in STAGES[STAGES.index("runtime") :]:
            if rest < self.stages[each]:
                stage = each
                break
            over[each], rest = self.stages[each], rest - self.stages[each]
        report = ReplicaReport(
            replica="a", revision="r", pid=1, started_at=now - timedelta(seconds=elapsed),
            heartbeat=now, generation=1, model_loaded="compile" in over, ready=stage is None,
            stage=stage, stages=over,
        )  # fmt: skip
        return (report,)


def measure() -> Section:
    found = {habit.name: _run(habit) for habit in HABITS}
    steady, uneven, mixed = found.values()
    all_learned = [*steady.learned[1:], *uneven.learned[1:], *mixed.learned[1:]]
    figures = [
        Figure("prediction error of starts, p50", median(all_learned) * 100, "%", 15, "at most"),
        Figure("prediction error of starts, p95", p95(all_learned) * 100, "%", 60, "at most"),
    ]
    columns = (
        "service",
        "published p50 %",
        "p95",
        "learned p50 %",
        "p95",
        "under way p50 %",
        "p95",
    )
    rows = [
        (
            name,
            *(
                of(each) * 100
                for each in (one.published, one.learned[1:], one.under_way)
                for of in (median, p95)
            ),
        )
        for name, one in found.items()
    ]
    notes = [
        f"{STARTS} starts each, in virtual time, with a fixed seed. `learned` is told when a start"
        " begins, from the second start on; `under way` is every 5 s of every start, as a share of"
        " the whole start. The times and how they vary are assumed, after the measured start of one"
        " 58 GiB model on an A100; the figure is of the gateway's arithmetic, not of Azure.",
    ]
    return Section("How well starts are predicted", figures, columns, rows, notes)


def _run(habit: Habit) -> Errors:
    loop = looptime.new_event_loop(start=0)
    try:
        return loop.run_until_complete(_starts(habit))
    finally:
        loop.close()


async def _starts(habit: Habit) -> Errors:
    loop, chance, errors = asyncio.get_running_loop(), random.Random(habit.name), Errors()
    stages = {**_PUBLISHED, "weights": habit.published}
    predicted = StartPrediction(seconds=sum(stages.values()), stages=stages)
    route = RoutedService(name="phi", endpoint="x", models=(), predicted=predicted)
    service, starts = SimulatedService(), LearnedStarts()
    backend = Backend(route, Senses(service.awake, service.reports), starts, 10)
    for _ in range(STARTS):
        service.stages, service.began = habit.start(chance), None
        took = sum(service.stages.values())
        began = loop.time()
        told = starts.predict(route).seconds
        waiting = asyncio.create_task(backend.admitted(1, 10_000, lambda: None))
        await asyncio.sleep(1)
        while not waiting.done():
            left = took - (loop.time() - began)
            errors.under_way.append(abs(backend.progress().left - left) / took)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), 5)
        errors.published.append(abs(predicted.seconds - took) / took)
        errors.learned.append(abs(told - took) / took)
        await asyncio.sleep(2 * TRUST)  # it sleeps again
    return errors
