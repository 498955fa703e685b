"""hostile.py's question asked of a real replica: what vLLM does with what the gate lets in counts too.

python -m tests.benchmarks.hostile_vllm [KIND ...]    some kinds only; hostile_clients.py lists them
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.benchmarks.hostile import compare, section
from tests.benchmarks.hostile_clients import KINDS
from tests.benchmarks.replica import Replica
from tests.benchmarks.report import Section
from tests.serving.replica_share import KEY


def measure(kinds: Iterable[str] = KINDS) -> Section:
    return asyncio.run(_measure(kinds))


async def _measure(kinds: Iterable[str]) -> Section:
    with tempfile.TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        replica.share.write(keys={"good": KEY, "hostile": "sk-hostile"})
        replica.start()
        try:
            async with replica.session() as http:
                await replica.ready(http)
            found = await compare(replica.port, KEY, "sk-hostile", "tiny", kinds)
        finally:
            replica.stop()
    return section("A small chat beside hostile clients, a replica of vLLM", found, [])


if __name__ == "__main__":
    section_of_some = measure(sys.argv[1:] or KINDS)
    for figure in section_of_some.figures:
        print(f"{figure}")
    for row in section_of_some.rows:
        print(*row, sep=" | ")
