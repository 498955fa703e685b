"""Approvals and orders about adapters: another process writes them to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from reconciler.api.problems import ManifestError
from reconciler.edges.edge import Edge

EVERY = 0.5  # seconds; a row in a database causes no file event of its own


class Approvals(Edge):
    """`said` reads the mark that each approval changes; `release` wakes the approved objects."""

    name = "approvals"

    def __init__(
        self,
        said: Callable[[], str | None],
        load: Callable[[], Awaitable[object]],
        release: Callable[[], None],
        every: float = EVERY,
    ) -> None:
        self._said, self._load, self._release = said, load, release
        self._every = every
        self._done = said()

    async def wait(self) -> None:
        await asyncio.sleep(self._every)

    async def act(self) -> None:
        said = self._said()
        if said == self._done:
            return
        with suppress(ManifestError):  # the last good documents may have been approved
            await self._load()
        self._release()
        self._done = said
