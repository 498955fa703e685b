"""The comments that a caller of a stream gets while its service starts. Most answers come before
the first comment is due, and those cost one timer and no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from serving.gateway.replies import comment


class Comments:
    """`prepare` sends the headers of the stream; `news` makes the text of a comment, one every so
    many seconds. Call `begin`, then `end`, which first finishes a half-written comment; or `stop`
    if the caller has left.
    """

    def __init__(
        self,
        prepare: Callable[[], Awaitable[web.StreamResponse]],
        news: Callable[[], str],
        every: float,
    ) -> None:
        self._prepare, self._news, self._every = prepare, news, every
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[web.StreamResponse] | None = None
        self._over: asyncio.Event | None = None

    def begin(self, pause: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(pause, self._start)

    async def end(self) -> web.StreamResponse | None:
        """The stream that was begun, if one was. Raises what writing to it raised."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is None or self._over is None:
            return None
        self._over.set()
        return await self._task

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._over is not None and not self._over.is_set():
            self._task.cancel()

    def _start(self) -> None:
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._write(self._over))

    async def _write(self, over: asyncio.Event) -> web.StreamResponse:
        # From here on the status cannot change; a failure becomes an event of the stream.
        out = await self._prepare()
        while not over.is_set():
            await out.write(comment(self._news()))
            try:
                async with asyncio.timeout(self._every):
                    await over.wait()
            except TimeoutError:
                continue
        return out
