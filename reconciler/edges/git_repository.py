"""New commits of the repository that holds the documents. The edge polls, so that a daemon needs no
inbound traffic, and looks at once when the repository's host reports a push (`web.git_hook`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from reconciler.api.problems import ManifestError
from reconciler.edges.edge import Edge
from reconciler.sources.git import GitCheckout

TOGETHER = 1.0  # seconds within which several pushes count as one


class GitRepository(Edge):
    """`taken` is called with each commit whose documents were read, good or refused."""

    name = "the Git repository"

    def __init__(
        self,
        checkout: GitCheckout,
        every: float,
        load: Callable[[], Awaitable[object]],
        reject: Callable[[ManifestError], None],
        taken: Callable[[str], None],
    ) -> None:
        self._checkout, self._every = checkout, every
        self._load, self._reject, self._taken = load, reject, taken
        self._read = checkout.commit

    async def wait(self) -> None:
        try:
            async with asyncio.timeout(self._every):
                await self._checkout.pushed.wait()
            await asyncio.sleep(TOGETHER)
        except TimeoutError:
            pass
        self._checkout.pushed.clear()

    async def act(self) -> None:
        await self._checkout.refresh()
        if self._read == self._checkout.commit:
            return
        self._taken(self._checkout.commit)
        try:
            await self._load()
        except ManifestError as error:
            self._reject(self._checkout.located(error))
        self._read = self._checkout.commit
