"""Saved files: documents, evaluations and the local folders that documents name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from reconciler.api.problems import ManifestError
from reconciler.edges.edge import Edge, forever

Watch = Callable[[asyncio.Event], AsyncGenerator[frozenset[Path], None]]


class Saves(Edge):
    """`watch` yields the changed paths until the given event is set; `load` reads everything again.
    A broken save goes to `reject` and is not tried again, because only the next save can fix it.
    """

    name = "saved files"

    def __init__(
        self,
        watch: Watch,
        stop: asyncio.Event,
        load: Callable[[], Awaitable[object]],
        reject: Callable[[ManifestError], None],
    ) -> None:
        self._watch, self._stop = watch, stop
        self._load, self._reject = load, reject
        self._changes: AsyncGenerator[frozenset[Path], None] | None = None

    async def wait(self) -> None:
        if self._changes is None:
            self._changes = self._watch(self._stop)
        try:
            await anext(self._changes)
        except StopAsyncIteration:
            await forever()
        except BaseException:
            # A generator that raised has ended. The next one begins with all watched paths.
            self._changes = None
            raise

    async def act(self) -> None:
        try:
            await self._load()
        except ManifestError as error:
            self._reject(error)
