"""Server-sent events: one line whenever the store has changed, so that an open page fetches itself
anew. What it fetches is rendered like any other request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

EVERY = 1.0  # seconds between looks at the store, which is also the shortest pause between events
ALIVE = 15.0  # seconds after which a page without news is told that the daemon still runs
MOST = 64  # open streams; each costs a look per second


class Updates:
    """`version` changes with every write to the store."""

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._closing = asyncio.Event()
        self._open = 0

    async def close(self, _: object = None) -> None:
        """End all streams, because a server waits for its open requests before it stops."""
        self._closing.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        if self._open >= MOST:
            return web.Response(text="too many pages are open\n", status=503)
        answer = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # else nginx keeps the events for itself
            }
        )
        self._open += 1
        try:
            await answer.prepare(request)
            await self._follow(answer)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._open -= 1
        return answer

    async def _follow(self, answer: web.StreamResponse) -> None:
        last, quiet = -1, 0.0
        while not self._closing.is_set():
            now = self._version()
            if now != last:
                await answer.write(f"data: {now}\n\n".encode())
                last, quiet = now, 0.0
            elif quiet >= ALIVE:
                await answer.write(b": still here\n\n")
                quiet = 0.0
            try:
                await asyncio.wait_for(self._closing.wait(), EVERY)
            except TimeoutError:
                quiet += EVERY
