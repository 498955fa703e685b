"""What one daemon carries: 100 services in 2 environments, and 1,000 in 20. From nothing to all
Ready, at rest, a save while everything else goes on, a serving revision that somebody stops, and
another daemon that takes over.

    python -m tests.benchmarks scale [--services N ...]

Both sizes take some 25 minutes on two cores without other work. What has been measured is printed
as soon as it is known. Replicas are on paper (`paper_azure`), everything else is the local Azure that users run. All of it
shares the machine, and CPU seconds are less unfair than wall seconds; the load is in the notes.
"""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.benchmarks import process
from tests.benchmarks.crowd import Crowd, crowd, name_of
from tests.benchmarks.house import Call
from tests.benchmarks.report import Figure, Section, median

SIZES = ((100, 2), (1000, 20))
RESYNC = 60.0
RESYNCS = 2
SAVES = 7
SPREAD = 1.5  # resyncs over which the saves are spread
KILLED = 5  # revisions that are deactivated at the same time
MEMORY = {100: 150, 1000: 300}  # MB
NOTICED = {100: 2 * 1.1 * RESYNC, 1000: 300.0}  # seconds, the jitter of a resync included
TAKEN_OVER = 45.0  # seconds: a lease of 30 s, asked for every 10 s, and a save
READS = 5.0  # a second: a fifth of what ARM gives to one principal
COLUMNS = (
    "services", "start s", "CPU s", "save at start s", "ARM reads/s", "ARM writes", "files/resync",
    "leases/resync", "CPU s a minute", "save s", "worst", "noticed s", "mended s", "MB", "peak MB",
    "taken over s",
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
    taken_over: float = 0.0
    load: float = 0.0

    @property
    def reads(self) -> float:
        """ARM reads a second at rest."""
        return sum(c.plane == "arm" and not c.write for c in self.rest) / (RESYNCS * RESYNC)

    @property
    def files(self) -> float:
        """Calls to the shares in a resync, without leases."""
        return sum(c.plane == "files" and not _is_lease(c) for c in self.rest) / RESYNCS

    @property
    def leases(self) -> float:
        return sum(map(_is_lease, self.rest)) / RESYNCS

    def row(self) -> tuple[float, ...]:
        return (
            self.services, self.start, self.cpu, self.early, self.reads,
            sum(c.plane == "arm" and c.write for c in self.rest), self.files, self.leases,
            self.minute, median(self.saves), max(self.saves), max(self.noticed), max(self.mended),
            *self.memory, self.taken_over,
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
            Figure(
                f"taken over by another daemon, {n}", self.taken_over, "s", TAKEN_OVER, "at most"
            ),
        ]


def _is_lease(call: Call) -> bool:
    return call.plane == "files" and "comp=lease" in call.query


def measure(sizes: Sequence[tuple[int, int]] = SIZES) -> Section:
    runs = [run(*size) for size in sizes]
    figures = [figure for one in runs for figure in one.figures()]
    if len(runs) > 1:
        # Twenty folders at rest are looked at in a resync, and two more because it may come early.
        figures.append(Figure("file calls a resync", runs[-1].files, "calls", 22, "at most"))
    loads = ", ".join(f"{one.load:.1f} with {one.services}" for one in runs)
    notes = [
        f"A resync every {RESYNC:.0f} s, {RESYNCS} of them watched; {SAVES} saves spread over {SPREAD}"
        " of them.",
        "Each share's lease is renewed every 10 s, which is counted apart.",
        "Another daemon stands by when the leader is killed; a save is then made, and acted on.",
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
            _say(services, f"a save at the start was acted on after {found.early:.1f} s")
            _until(_all_ready(many, began), many, daemon, 2400)
            found.start, found.cpu = time.monotonic() - began, process.cpu_seconds(daemon.pid)
            _say(services, f"all Ready after {found.start:.0f} s and {found.cpu:.1f} s of CPU")
            _rest(many, found, daemon.pid)
            for number in range(SAVES):
                time.sleep(SPREAD * RESYNC / SAVES)
                found.saves.append(_acted_on(many, number, 3, daemon))
                _say(services, f"save {number + 1} of {SAVES}: {found.saves[-1]:.2f} s")
            with _without(found.noticed, found.mended):
                _stop_some(many, found, daemon)
            found.memory = process.memory(daemon.pid)
            _say(services, "memory {:.0f} MB, peak {:.0f} MB".format(*found.memory))
            taken: list[float] = []
            with _without(taken):
                taken.append(_taken_over(many, daemon))
            (found.taken_over,) = taken
            _say(services, f"taken over by another daemon after {found.taken_over:.1f} s")
    found.load = os.getloadavg()[1]
    return found


@contextmanager
def _without(*figures: list[float]) -> Iterator[None]:
    """A figure that cannot be had must not cost the others, which took twenty minutes."""
    try:
        yield
    except RuntimeError:
        traceback.print_exc()
        for figure in figures:
            figure[:] = [math.inf]


def _say(services: int, what: str) -> None:
    now = time.strftime("%H:%M:%S")
    print(f"{now} {services} services: {what}", file=sys.stderr, flush=True)


def _all_ready(many: Crowd, began: float) -> Callable[[], bool]:
    """Whether all are; every half minute it is said how many."""
    said = [began]

    def ready() -> bool:
        count = len(many.ready())
        if time.monotonic() - said[0] > 30:
            said[0] = time.monotonic()
            _say(many.services, f"{count} Ready after {said[0] - began:.0f} s")
        return count == many.services

    return ready


def _rest(many: Crowd, found: Run, pid: int) -> None:
    time.sleep(RESYNC)  # what the last change set going comes to rest
    many.news()
    cpu = process.cpu_seconds(pid)
    time.sleep(RESYNCS * RESYNC)
    found.minute = (process.cpu_seconds(pid) - cpu) / (RESYNCS * RESYNC) * 60
    found.rest = many.news()
    _say(
        found.services,
        f"at rest {found.reads:.1f} ARM reads a second, {found.files:.0f} calls to the shares and"
        f" {found.leases:.0f} for leases in a resync, {found.minute:.1f} s of CPU a minute",
    )


def _taken_over(many: Crowd, daemon: subprocess.Popen[bytes]) -> float:
    """Seconds from a save until another daemon acts on it, the leader having been killed before."""
    with many.standing_by("--resync", f"{RESYNC:.0f}") as other:
        daemon.kill()
        daemon.wait()
        return _acted_on(many, many.services - 1, 4, other)


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
    _say(
        many.services,
        f"{KILLED} stopped revisions: the last noticed after {max(found.noticed):.0f} s and mended"
        f" after {max(found.mended):.0f} s",
    )


def _until(
    condition: Callable[[], bool],
    many: Crowd,
    daemon: subprocess.Popen[bytes],
    seconds: float,
    every: float = 1.0,
) -> None:
    many.house.until(condition, daemon, seconds, every=every)
