"""The slow edge."""

import asyncio

from reconciler.engine.external import ObjectKey
from reconciler.sources.resync import resync


async def test_all_keys_of_the_moment_until_stopped():
    """Each tick names the keys there are then, together; a tick without any is silent."""
    stop, ticks = asyncio.Event(), []
    keys = iter([[ObjectKey("A", "1")], [], [ObjectKey("A", "1"), ObjectKey("B", "2")]])
    async for batch in resync(0.01, lambda: next(keys), stop):
        ticks.append(batch)
        if len(ticks) == 2:
            stop.set()
    assert ticks == [(ObjectKey("A", "1"),), (ObjectKey("A", "1"), ObjectKey("B", "2"))]
