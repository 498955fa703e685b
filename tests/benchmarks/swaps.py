"""Adapters changed while eight streams run: what fails, how long any stream is silent, and whether
memory stays.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp

from tests.benchmarks.replica import Answer, Replica, stream
from tests.benchmarks.report import Figure, Section, median, p95, ratio

STREAMS = 8
REQUESTS = 10_000
SWAPS = 200
WORDS = ("red", "green", "blue", "amber")
TOKENS = 6
BLOCKS, QUIET = (
    10,
    60,
)  # times that a quiet spell of so many answers is compared with a spell of swaps


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
    spells, seconds, memory = [], [], []
    while len(answers) < QUIET:  # the first ones are slower
        await asyncio.sleep(0.1)
    for block in range(BLOCKS):
        begun = len(answers)
        while len(answers) < begun + QUIET:
            await asyncio.sleep(0.1)
        middle = len(answers)
        turns = range(block * SWAPS // BLOCKS, (block + 1) * SWAPS // BLOCKS)
        seconds += [await _swap(replica, turn + 1) for turn in turns]
        memory.append(replica.memory())
        spells.append((answers[begun:middle], answers[middle:]))
    while len(answers) + len(failures) < REQUESTS:
        await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*clients)
    return _section(spells, len(answers) + len(failures), failures, seconds, memory)


async def _swap(replica: Replica, turn: int) -> float:
    """Seconds from a catalogue's writing to the report."""
    adapter = replica.adapter("red", WORDS[turn % len(WORDS)], turn)
    began = time.perf_counter()
    replica.share.write(adapter)
    await replica.serves(adapter)
    return time.perf_counter() - began


def _section(
    spells: list[tuple[list[Answer], list[Answer]]],
    requests: int,
    failures: list[str],
    seconds: list[float],
    memory: list[float],
) -> Section:
    quiet, moving = (
        [answer.gap for spell in kind for answer in spell] for kind in zip(*spells, strict=True)
    )
    typical = ratio([(_typical(swapping), _typical(still)) for still, swapping in spells])
    longest = ratio([(_longest(swapping), _longest(still)) for still, swapping in spells])
    half = len(memory) // 2
    growth = median(memory[-half:]) / median(memory[:half])
    rows: list[tuple[str, float | int | str]] = [
        ("requests", requests),
        ("failed requests", len(failures)),
        ("swaps", len(seconds)),
        ("swap, median s", median(seconds)),
        ("swap, p95 s", p95(seconds)),
        ("longest gap in a stream, quiet, s", max(quiet)),
        ("longest gap in a stream, while swapping, s", max(moving)),
        ("longest gap of a spell, swapping against quiet", str(longest)),
        ("median of each stream's longest gap, quiet, s", median(quiet)),
        ("median of each stream's longest gap, while swapping, s", median(moving)),
        ("median of each stream's longest gap, swapping against quiet", str(typical)),
        (f"memory after {len(seconds) // BLOCKS} swaps, MB", memory[0]),
        (f"memory after {len(seconds)} swaps, MB", memory[-1]),
    ]
    figures = [
        Figure(
            f"failed requests in {requests:,} under {len(seconds)} swaps",
            len(failures),
            "",
            0,
            "at most",
        ),
        Figure("memory, last swaps against first", growth, "times", 1.05, "at most"),
    ]
    notes = [
        (
            "Half of the streams ask the adapter that is swapped, half the base. A swap is new"
            " weights under the same name."
        ),
        (
            f"{BLOCKS} spells of quiet and of swaps in turns; ratios are geometric means of the"
            " pairs with a 95 % bootstrap interval."
        ),
    ]
    notes += [f"first failure: {failures[0]}"] if failures else []
    return Section("Swaps under eight streams", figures, ("what", "value"), rows, notes)


def _typical(answers: list[Answer]) -> float:
    return median([answer.gap for answer in answers])


def _longest(answers: list[Answer]) -> float:
    return max(answer.gap for answer in answers)
