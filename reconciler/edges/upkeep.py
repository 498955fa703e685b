"""Edges that do not wake the loop: the loop itself, which is started again if it fails, and small
periodic duties.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from reconciler.edges.edge import Edge, forever


class Running(Edge):
    """`run` is meant to run until it is cancelled, or to return when it was told to stop."""

    endless = True

    def __init__(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._run = run
        self._done = False

    async def wait(self) -> None:
        if self._done:
            await forever()

    async def act(self) -> None:
        await self._run()
        self._done = True


class Duty(Edge):
    """Does `do` every so many seconds."""

    def __init__(self, name: str, every: float, do: Callable[[], object]) -> None:
        self.name = name
        self._every, self._do = every, do

    async def wait(self) -> None:
        await asyncio.sleep(self._every)

    async def act(self) -> None:
        self._do()
