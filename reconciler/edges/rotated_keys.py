"""Rotated keys of storage accounts: the first request that is refused fetches the new key, and the
shares are registered again with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from reconciler.api.reasons import Reason
from reconciler.edges.edge import AFTER_A_SAVE, Edge
from reconciler.engine.errors import RetryableError


class RotatedKeys(Edge):
    """`changed` is set when an account turns out to have another key, or when a save has left out a
    look. `outdated` says, without a call to Azure, whether a registered share has an old key,
    `aged` whether a look was left out. `register` looks at all and brings them up to date.
    """

    name = "rotated storage keys"

    def __init__(
        self,
        changed: asyncio.Event,
        outdated: Callable[[], bool],
        aged: Callable[[], bool],
        register: Callable[[], Awaitable[None]],
    ) -> None:
        self._changed, self._outdated, self._aged = changed, outdated, aged
        self._register = register

    async def wait(self) -> None:
        await self._changed.wait()
        if not self._outdated():
            await asyncio.sleep(AFTER_A_SAVE)

    async def act(self) -> None:
        self._changed.clear()
        if self._outdated() or self._aged():
            await self._register()
        if self._outdated():
            raise RetryableError(
                Reason.STORAGE_KEY_ROTATED, "the registered shares could not be listed"
            )
