"""Adapters changed while eight streams run: what fails, how long any stream is silent, and whether memory stays."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp

from tests.benchmarks.replica import Answer, Replica, stream
from tests.benchmarks.report import Figure, Section, median, p95

STREAMS = 8
REQUESTS = 10_000
SWAPS = 200
WORDS = ("red", "green", "blue", "amber")
TOKENS = 6
QUIET = 400  # answers before the first swap, to compare with


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    with tempfile.TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        replica.share.write(replica.adapter("red", "red"))
        replica.start()
        try:
            async with replica.session() as http:
                await replica.ready(http)
                return await _run(replica, http)
        finally:
            replica.stop()


async def _run(replica: Replica, http: aiohttp.ClientSession) -> Section:
    answers: list[Answer] = []
    failures: list[str] = []
    stop = asyncio.Event()

    async def ask_on(number: int) -> None:
        while not stop.is_set():
            try:
                answers.append(await stream(http, "red" if number % 2 else "tiny", TOKENS))
            except Exception as error:  # whatever a client would have seen
                failures.append(repr(error))

    clients = [asyncio.create_task(ask_on(number)) for number in range(STREAMS)]
    while len(answers) < QUIET:
        await asyncio.sleep(0.1)
    quiet = list(answers)
    seconds, memory = await _swap_all(replica)
    during = answers[len(quiet) :]
    while len(answers) + len(failures) < REQUESTS:
        await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*clients)
    return _section(quiet, during, answers, failures, seconds, memory)


async def _swap_all(replica: Replica) -> tuple[list[float], list[float]]:
    """Seconds from a catalogue's writing to the report of each swap, and the memory after every tenth."""
    seconds, memory = [], []
    for turn in range(1, SWAPS + 1):
        adapter = replica.adapter("red", WORDS[turn % len(WORDS)], turn)
        began = time.perf_counter()
        replica.share.write(adapter)
        await replica.serves(adapter)
        seconds.append(time.perf_counter() - began)
        if turn % 10 == 0:
            memory.append(replica.memory())
    return seconds, memory


def _section(
    quiet: list[Answer],
    during: list[Answer],
    answers: list[Answer],
    failures: list[str],
    seconds: list[float],
    memory: list[float],
) -> Section:
    still, moving = max(answer.gap for answer in quiet), max(answer.gap for answer in during)
    growth = median(memory[-5:]) / median(memory[:5])
    rows: list[tuple[str, float | int]] = [
        ("requests", len(answers) + len(failures)),
        ("failed requests", len(failures)),
        ("swaps", len(seconds)),
        ("swap, median s", median(seconds)),
        ("swap, p95 s", p95(seconds)),
        ("longest gap in a stream, quiet, s", still),
        ("longest gap in a stream, while swapping, s", moving),
        ("median of each stream's longest gap, quiet, s", median([answer.gap for answer in quiet])),
        ("median of each stream's longest gap, while swapping, s", median([answer.gap for answer in during])),
        ("memory after 10 swaps, MB", memory[0]),
        (f"memory after {len(seconds)} swaps, MB", memory[-1]),
    ]
    figures = [
        Figure(
            f"failed requests in {len(answers) + len(failures):,} under {len(seconds)} swaps", len(failures), "", 0, "at most"
        ),
        Figure("memory, last swaps against first", growth, "times", 1.05, "at most"),
    ]
    notes = ["Half of the streams ask the adapter that is swapped, half the base. A swap is new weights under the same name."]
    notes += [f"first failure: {failures[0]}"] if failures else []
    return Section("Swaps under eight streams", figures, ("what", "value"), rows, notes)
