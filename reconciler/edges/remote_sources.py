"""Sources on a share or a hub. No file event announces their changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from reconciler.api.problems import ManifestError
from reconciler.edges.edge import Edge
from reconciler.engine.external import DocumentRef

FIRST_PAUSE = 2.0  # seconds until a missing source is looked for again; doubled each time


class RemoteEdge(Edge):
    """Looks when one arrives, every `resync` seconds, and more often while one is missing.

    `named` are the documents that name such sources, `missing` whether one could not be brought.
    """

    name = "sources on shares and hubs"

    def __init__(
        self,
        arrived: asyncio.Event,
        load: Callable[[], Awaitable[object]],
        named: Callable[[], Collection[DocumentRef]],
        missing: Callable[[], bool],
        resync: float,
    ) -> None:
        self._arrived, self._load = arrived, load
        self._named, self._missing = named, missing
        self._resync = resync
        self._looks = 0  # consecutive looks at which something was missing

    async def wait(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._arrived.wait(), self._pause())
            except TimeoutError:
                if not self._named():
                    continue
            return

    async def act(self) -> None:
        self._arrived.clear()
        with suppress(ManifestError):  # the edge of saved files reports those
            await self._load()
        self._looks = self._looks + 1 if self._missing() else 0

    def _pause(self) -> float:
        """A missing source may arrive at any moment, but after each look that becomes less
        likely.
        """
        return min(FIRST_PAUSE * 2.0**self._looks, self._resync) if self._looks else self._resync

    def concerns(self) -> Collection[DocumentRef]:
        return self._named()
