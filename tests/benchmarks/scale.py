"""What one daemon carries: 100 services in 2 environments, and 1,000 in 20. From nothing to all
Ready, at rest, a save while everything else goes on, and a serving revision that somebody stops.

Replicas are on paper (`paper_azure`), everything else is the local Azure that users run. All of it
shares the machine, and CPU seconds are less unfair than wall seconds; the load is in the notes.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.benchmarks import process
from tests.benchmarks.crowd import Crowd, crowd, name_of
from tests.benchmarks.house import Call
from tests.benchmarks.report import Figure, Section, median

SIZES = ((100, 2), (1000, 20))
RESYNC = 60.0
RESYNCS = 3
SAVES = 7
KILLED = 5  # revisions that are deactivated at the same time
MEMORY = {100: 150, 1000: 300}  # MB
NOTICED = {100: 2 * 1.1 * RESYNC, 1000: 300.0}  # seconds, the jitter of a resync included
READS = 5.0  # a second: a fifth of what ARM gives to one principal
COLUMNS = (
    "services", "start s", "CPU s", "save at start s", "ARM reads/s", "ARM writes", "files/resync",
    "CPU s a minute", "save s", "worst", "noticed s", "mended s", "MB", "peak MB",
)  # fmt: skip


@dataclass
class Run:
    """What was measured with one daemon."""

    services: int
    start: float = 0.0
    cpu: float = 0.0
    early: float = 0.0
    rest: list[Call] = field(default_factory=list)
    minute: float = 0.0
    saves: list[float] = field(default_factory=list)
    noticed: list[float] = field(default_factory=list)
    mended: list[float] = field(default_factory=list)
    memory: tuple[float, float] = (0.0, 0.0)
    load: float = 0.0

    @property
    def reads(self) -> float:
        """ARM reads a second at rest."""
        return sum(c.plane == "arm" and not c.write for c in self.rest) / (RESYNCS * RESYNC)

    @property
    def files(self) -> float:
        return sum(c.plane == "files" for c in self.rest) / RESYNCS

    def row(self) -> tuple[float, ...]:
        return (
            self.services, self.start, self.cpu, self.early, self.reads,
            sum(c.plane == "arm" and c.write for c in self.rest), self.files, self.minute,
            median(self.saves), max(self.saves), max(self.noticed), max(self.mended), *self.memory,
        )  # fmt: skip

    def figures(self) -> list[Figure]:
        n, noticed = self.services, NOTICED.get(self.services, 300.0)
        return [
            Figure(f"ARM reads at rest, {n} services", self.reads, "a second", READS, "at most"),
            Figure(f"save while a resync runs, {n} services", max(self.saves), "s", 1, "at most"),
            Figure(f"stopped revision noticed, {n}", max(self.noticed), "s", noticed, "at most"),
            Figure(f"stopped revision mended, {n}", max(self.mended), "s", noticed, "at most"),
            Figure(
                f"daemon with {n} services", self.memory[1], "MB", MEMORY.get(n, 300), "at most"
            ),
        ]


def measure(sizes: Sequence[tuple[int, int]] = SIZES) -> Section:
    runs = [run(*size) for size in sizes]
    figures = [figure for one in runs for figure in one.figures()]
    if len(runs) > 1:
        grown = runs[-1].files - runs[0].files
        figures.append(Figure("file calls a resync, more services", grown, "calls", 0, "at most"))
    loads = ", ".join(f"{one.load:.1f} with {one.services}" for one in runs)
    notes = [
        f"A resync every {RESYNC:.0f} s, {RESYNCS} of them watched; {SAVES} saves spread over two.",
        "A save changes `maxReplicas`; it is acted on when its PATCH reaches the local Azure.",
        f"{KILLED} serving revisions are deactivated at once; the slowest of them counts.",
        f"Load averages at the end, on {os.cpu_count()} cores: {loads}.",
    ]
    return Section("What one daemon carries", figures, COLUMNS, [one.row() for one in runs], notes)


def run(services: int, environments: int) -> Run:
    found = Run(services)
    with crowd(services, environments) as many:
        began = time.monotonic()
        with many.house.up("--resync", f"{RESYNC:.0f}") as daemon:
            _until(lambda: len(many.ready()) >= services // 10, many, daemon, 2400)
            found.early = _acted_on(many, many.ready()[0], 2, daemon)
            _until(lambda: len(many.ready()) == services, many, daemon, 2400)
            found.start, found.cpu = time.monotonic() - began, process.cpu_seconds(daemon.pid)
            _rest(many, found, daemon.pid)
            for number in range(SAVES):
                time.sleep(2 * RESYNC / SAVES)
                found.saves.append(_acted_on(many, number, 3, daemon))
            _stop_some(many, found, daemon)
            found.memory = process.memory(daemon.pid)
    found.load = os.getloadavg()[1]
    return found


def _rest(many: Crowd, found: Run, pid: int) -> None:
    time.sleep(RESYNC)  # what the last change set going comes to rest
    many.news()
    cpu = process.cpu_seconds(pid)
    time.sleep(RESYNCS * RESYNC)
    found.minute = (process.cpu_seconds(pid) - cpu) / (RESYNCS * RESYNC) * 60
    found.rest = many.news()


def _acted_on(
    many: Crowd, number: int, most: int, daemon: subprocess.Popen[bytes], limit: float = 600
) -> float:
    """Seconds from a save until the container app of the service is written."""
    many.news()
    saved = many.write(number, most=most)
    written: list[float] = []

    def seen() -> bool:
        written.extend(
            call.at
            for call in many.news()
            if call.write and call.path.lower().endswith(f"/containerapps/{name_of(number)}")
        )
        return bool(written)

    _until(seen, many, daemon, limit, every=0.1)
    return written[0] - saved


def _stop_some(many: Crowd, found: Run, daemon: subprocess.Popen[bytes]) -> None:
    """Deactivate the serving revisions of services far apart, behind the daemon's back."""
    chosen = [(2 * number + 1) * many.services // (2 * KILLED) for number in range(KILLED)]
    at = time.time()
    asyncio.run(many.deactivate(chosen))
    since, left, dead = time.monotonic(), set(chosen), set(chosen)
    while left:
        passed = time.monotonic() - since
        if daemon.poll() is not None or passed > 1200:
            raise RuntimeError(f"{len(left)} of {KILLED} stopped revisions were not put right")
        told = many.told_of(at)
        for number in list(dead):
            if name_of(number) in told:
                dead.discard(number)
                found.noticed.append(passed)
        for number in (left - dead) & set(many.ready()):
            left.discard(number)
            found.mended.append(passed)
        time.sleep(0.5)


def _until(
    condition: Callable[[], bool],
    many: Crowd,
    daemon: subprocess.Popen[bytes],
    seconds: float,
    every: float = 1.0,
) -> None:
    many.house.until(condition, daemon, seconds, every=every)
