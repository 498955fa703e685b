"""Moorage's server against plain vLLM, both up at once, asked in turns: what gate, plugin and
adapter loop cost.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from tests import tiny_model
from tests.benchmarks.replica import Answer, Replica, stream
from tests.benchmarks.report import Figure, Section, median, ratio

ROUNDS = 12
CLIENTS = (1, 8, 32)
TOKENS = 48
EACH = {1: 12, 8: 64, 32: 192}  # answers in a round
# seconds before a round: the threads of the server that was asked before it spin on for a while
REST = 2.0


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = Replica(Path(folder) / "ours"), Replica(Path(folder) / "plain", wrapped=False)
        ours.share.write(ours.adapter("red", "red"))
        red = tiny_model.make_adapter(plain.folder / "red", "red", model=plain.model)
        try:
            ours.start()
            async with ours.session() as first, plain.session() as second:
                await ours.ready(first)
                plain.start({"red": red})
                await plain.ready(second)
                return await _compare(first, second)
        finally:
            ours.stop()
            plain.stop()


async def _compare(ours: aiohttp.ClientSession, plain: aiohttp.ClientSession) -> Section:
    rows, figures = [], []
    for clients in CLIENTS:
        pairs = []
        for turn in range(ROUNDS):
            order = (ours, plain) if turn % 2 else (plain, ours)
            found = {id(http): await _rested(http, clients) for http in order}
            pairs.append((found[id(ours)], found[id(plain)]))
        first = ratio([(one.first, other.first) for one, other in pairs])
        speed = ratio([(one.speed, other.speed) for one, other in pairs])
        rows += [
            (clients, "time to first token", *first.cells()),
            (clients, "tokens per second", *speed.cells()),
        ]
        # A loss shows when even the favourable end of the interval is beyond 2 %.
        figures.append(
            Figure(
                f"first token at {clients} streams, lower end of ours/plain",
                first.low,
                "",
                1.02,
                "at most",
            )
        )
        figures.append(
            Figure(
                f"tokens/s at {clients} streams, upper end of ours/plain",
                speed.high,
                "",
                0.98,
                "at least",
            )
        )
    notes = [
        f"{ROUNDS} rounds in turns, both servers up; geometric mean of ours/plain with a 95 %"
        " bootstrap interval.",
        "Both have Moorage's LoRA arithmetic for CPUs (serving/patches/cpu_lora.py), so that the"
        " difference is that of gate, plugin and adapter loop.",
    ]
    return Section(
        "Moorage's server against plain vLLM",
        figures,
        ("streams", "what", "ours/plain", "from", "to"),
        rows,
        notes,
    )


class _Round:
    def __init__(self, answers: Sequence[Answer], seconds: float) -> None:
        self.first = median([answer.first for answer in answers])
        self.speed = sum(answer.tokens for answer in answers) / seconds


async def _rested(http: aiohttp.ClientSession, clients: int) -> _Round:
    """A round that begins neither beside the other server's end nor on a cold one."""
    await asyncio.sleep(REST)
    await _round(http, clients, clients)
    return await _round(http, clients, EACH[clients])


async def _round(http: aiohttp.ClientSession, clients: int, left: int) -> _Round:
    answers: list[Answer] = []

    async def ask_on() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            answers.append(await stream(http, "red", TOKENS))

    began = time.perf_counter()
    await asyncio.gather(*(ask_on() for _ in range(clients)))
    return _Round(answers, time.perf_counter() - began)
