"""Resources that carry our mark and that no document asks for: nothing tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from reconciler.edges.edge import Edge

EVERY = 600.0  # seconds


class Orphans(Edge):
    """`look` asks Azure and hands what it finds to the loop."""

    name = "resources that no document asks for"

    def __init__(self, look: Callable[[], Awaitable[None]], every: float = EVERY) -> None:
        self._look, self._every = look, every

    async def wait(self) -> None:
        await asyncio.sleep(self._every)

    async def act(self) -> None:
        await self._look()
