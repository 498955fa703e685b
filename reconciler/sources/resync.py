"""The slow edge: every so often all keys, so that drift is noticed although nobody
saved anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from reconciler.engine.external import ObjectKey


async def resync(
    interval: float, keys: Callable[[], Iterable[ObjectKey]], stop: asyncio.Event
) -> AsyncIterator[tuple[ObjectKey, ...]]:
    """Yield what `keys` names at that moment, every `interval` seconds until `stop`; all at once,
    so that they share lists.
    """
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), interval)
        except TimeoutError:
            if batch := tuple(keys()):
                yield batch
