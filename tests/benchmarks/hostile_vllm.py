"""hostile.py's question asked of a real replica: what vLLM does with what the gate lets in counts too."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.benchmarks.hostile import compare, section
from tests.benchmarks.replica import Replica
from tests.benchmarks.report import Section
from tests.serving.replica_share import KEY


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    with tempfile.TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        replica.share.write(keys={"good": KEY, "hostile": "sk-hostile"})
        replica.start()
        try:
            async with replica.session() as http:
                await replica.ready(http)
            found = await compare(replica.port, KEY, "sk-hostile", "tiny")
        finally:
            replica.stop()
    return section("A small chat beside hostile clients, a replica of vLLM", found, [])
