"""What looking costs when nothing has changed: `plan`, and `moorage up` at rest, for 1, 10 and 100
services of one environment.

A resync's calls come from the local Azure's journal, cut at the pauses between bursts; CPU and
memory from /proc.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tests.benchmarks import process
from tests.benchmarks.house import Call, House, code_service, house, save
from tests.benchmarks.report import Figure, Section

SIZES = (1, 10, 100)
RESYNC = 60.0
RESYNCS = 2
COLUMNS = (
    "services", "start s", "plan ARM", "plan Files", "plan wall s", "plan CPU s", "plan peak MB",
    "resync ARM", "resync Files", "resync wall s", "CPU s a minute", "ARM writes", "MB", "peak MB",
)  # fmt: skip


def measure(sizes: Sequence[int] = SIZES) -> Section:
    rows, figures = [], []
    for size in sizes:
        row = at_rest(size, prepare)
        rows.append(row)
        if size == 100:
            named = dict(zip(COLUMNS, row, strict=True))
            figures = [
                Figure(
                    "steady resync of 100 services", named["resync ARM"], "ARM calls", 12, "at most"
                ),
                Figure("daemon with 100 services", named["peak MB"], "MB", 150, "at most"),
            ]
    notes = [
        (
            f"Services of the `code:` kind with `minReplicas: 0`; a resync every {RESYNC:.0f} s,"
            f" {RESYNCS} of them watched."
        ),
        (
            "Calls and CPU are all the daemon made in that time, its lease and its looks at"
            " replicas included, per resync."
        ),
        (
            "`start` is from `moorage up` on nothing to every service Ready. MB is at rest, peak is"
            " over the daemon's whole life."
        ),
    ]
    return Section("Looking when nothing has changed", figures, COLUMNS, rows, notes)


def at_rest(size: int, prepare: Callable[[House, int], None]) -> tuple[float, ...]:
    """A row of COLUMNS for `size` services whose documents `prepare` writes; it also starts the
    local Azure.
    """
    with house() as one:
        prepare(one, size)
        began = time.monotonic()
        with one.up("--resync", f"{RESYNC:.0f}") as daemon:
            one.until_ready(daemon, size, 900)
            start = time.monotonic() - began
            resync = _watch(one, daemon.pid)
            resident, peak = process.memory(daemon.pid)
        plan = _plan(one)
    return (size, start, *plan, *resync, resident, peak)


def prepare(one: House, services: int) -> None:
    one.start_azure()
    for number in range(services):
        save(
            one.documents / f"service-{number:03}.yaml",
            code_service(one.documents, f"web-{number:03}", cooldown=120),
        )


def _watch(one: House, daemon: int) -> tuple[float, ...]:
    """ARM and Files calls and the wall seconds of a resync, CPU seconds a minute, and all ARM
    writes (there should be none).
    """
    time.sleep(10)  # what the last change set going comes to rest
    since, cpu = time.time(), process.cpu_seconds(daemon)
    time.sleep(RESYNC * RESYNCS)
    seconds, used = time.time() - since, process.cpu_seconds(daemon) - cpu
    calls = one.calls(since)
    arm = [call for call in calls if call.plane == "arm"]
    files = [call for call in calls if call.plane == "files"]
    bursts = sorted(_bursts(arm), key=len)
    wall = bursts[-1][-1].at - bursts[-1][0].at if bursts else 0.0
    writes = sum(call.write for call in arm)
    return (len(arm) / RESYNCS, len(files) / RESYNCS, wall, used / seconds * 60, writes)


def _plan(one: House) -> tuple[float, ...]:
    since = time.time()
    cost = one.run("plan", "-f", str(one.documents))
    if cost.code:
        raise RuntimeError(cost.output[-2000:])
    calls = one.calls(since)
    planes = [sum(call.plane == plane for call in calls) for plane in ("arm", "files")]
    return (*planes, cost.wall, cost.cpu, cost.peak)


def _bursts(calls: Sequence[Call], pause: float = 5.0) -> list[list[Call]]:
    bursts: list[list[Call]] = []
    for call in calls:
        if not bursts or call.at - bursts[-1][-1].at > pause:
            bursts.append([])
        bursts[-1].append(call)
    return bursts
