"""Resources that carry our mark and that no document asks for. No event announces them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from reconciler.edges.edge import AFTER_A_SAVE, Edge

EVERY = 600.0  # seconds


class Orphans(Edge):
    """`look` asks Azure and hands what it finds to the loop: `every` so many seconds, and when
    `aged` is set.
    """

    name = "resources that no document asks for"

    def __init__(
        self, look: Callable[[], Awaitable[None]], aged: asyncio.Event, every: float = EVERY
    ) -> None:
        self._look, self._aged, self._every = look, aged, every

    async def wait(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._aged.wait(), self._every)
            await asyncio.sleep(AFTER_A_SAVE)

    async def act(self) -> None:
        await self._look()
