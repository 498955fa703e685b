"""Keeps a local Azure busy until it is killed, as one throttled caller could keep Azure busy.
Started by `ingress`.

python -m tests.benchmarks.arm_work ENDPOINT CA AUTHORIZATION GROUP
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable

import aiohttp

_READS, _WRITES = 25, 10  # a second


async def work(endpoint: str, ca: str, authorization: str, group: str) -> None:
    """Lists apps and gets one by turns, and writes tags of the group."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca))
    headers = {"Authorization": authorization}
    async with aiohttp.ClientSession(endpoint, connector=connector, headers=headers) as session:

        async def read(turn: int) -> None:
            path = f"{group}/providers/Microsoft.App/containerApps" + ("/web" if turn % 2 else "")
            async with session.get(path, params={"api-version": "2024-03-01"}) as answer:
                assert answer.status == 200
                await answer.read()

        async def write(turn: int) -> None:
            body = {"location": "swedencentral", "tags": {"turn": str(turn)}}
            async with session.put(
                group, params={"api-version": "2024-11-01"}, json=body
            ) as answer:
                assert answer.status == 200
                await answer.read()

        await asyncio.gather(_paced(read, _READS), _paced(write, _WRITES))


async def _paced(act: Callable[[int], Awaitable[None]], a_second: int) -> None:
    loop, turn = asyncio.get_running_loop(), 0
    began = loop.time()
    while True:
        await act(turn)
        turn += 1
        await asyncio.sleep(max(0.0, began + turn / a_second - loop.time()))


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:5]))
