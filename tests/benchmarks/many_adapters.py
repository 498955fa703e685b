"""1, 8 and 64 adapters on one replica: memory, the time from a cold start to all of them served,
and throughput.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests import tiny_model
from tests.benchmarks.replica import Replica, stream
from tests.benchmarks.report import Section

COUNTS = (1, 8, 64)
CLIENTS, ANSWERS, TOKENS = 8, 96, 16


def measure() -> Section:
    rows = [asyncio.run(_one(count)) for count in COUNTS]
    columns = (
        "adapters",
        "ready with the required ones, s",
        "all served after ready, s",
        "memory, MB",
        "tokens/s at 8 streams",
    )
    notes = [
        "Slots for 8 at a time, room for all in memory; the first adapter is required, so the"
        " replica is ready with it."
    ]
    return Section("Many adapters", (), columns, rows, notes)


async def _one(count: int) -> tuple[int, float, float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        replica = Replica(Path(folder), slots=min(8, count), resident=max(2, count + 2))
        words = tiny_model.VOCABULARY[1:]
        adapters = [
            replica.adapter(f"a{number}", words[number % len(words)], number)
            for number in range(count)
        ]
        adapters = [
            adapter.model_copy(update={"required": number == 0})
            for number, adapter in enumerate(adapters)
        ]
        replica.share.write(*adapters)
        replica.start()
        try:
            async with replica.session() as http:
                ready = await replica.ready(http)
                began = time.perf_counter()
                await replica.serves(*adapters)
                rest, names = time.perf_counter() - began, iter(range(ANSWERS))

                async def ask_on() -> None:
                    for number in names:
                        await stream(http, f"a{number % count}", TOKENS)

                begun = time.perf_counter()
                await asyncio.gather(*(ask_on() for _ in range(CLIENTS)))
                return (
                    count,
                    ready,
                    rest,
                    replica.memory(),
                    ANSWERS * TOKENS / (time.perf_counter() - begun),
                )
        finally:
            replica.stop()
