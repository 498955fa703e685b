"""Queues of requests, one for each key. The first request of a queue goes through; the next goes
when the first releases it. compilations.py and preparations.py use them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Lines:
    """A request that was let through holds the queue of its key until it calls `release`."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.waiting: Counter[str] = Counter()

    async def enter(
        self, whose: str, receive: Receive, room: AbstractContextManager[None] | None = None
    ) -> Callable[[], None]:
        """Wait for the key's turn, in `room` if one has to wait. The answer gives the turn on; only
        its first call counts. Raises ConnectionError when the client leaves first.
        """
        lock = self._locks[whose]
        if not lock.locked():
            await lock.acquire()
            return _once(lock.release)
        self.waiting[whose] += 1
        try:
            with room or nullcontext():
                await _unless_left(lock, receive)
        finally:
            self.waiting[whose] -= 1
            if not self.waiting[whose]:
                del self.waiting[whose]
        return _once(lock.release)

    def busy(self, whose: str) -> bool:
        return self._locks[whose].locked()


def _once(release: Callable[[], None]) -> Callable[[], None]:
    held = True

    def released() -> None:
        nonlocal held
        if held:
            held = False
            release()

    return released


async def _unless_left(line: asyncio.Lock, receive: Receive) -> None:
    """Acquire the lock, or raise ConnectionError when the client leaves first."""
    left = asyncio.ensure_future(_left(receive))
    turn = asyncio.ensure_future(line.acquire())
    try:
        await asyncio.wait({turn, left}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        _give_back(turn, line)
        raise
    finally:
        left.cancel()
    if not turn.done() or (left.done() and not left.cancelled()):
        _give_back(turn, line)
        raise ConnectionError("the client has left")


def _give_back(turn: asyncio.Future[Any], line: asyncio.Lock) -> None:
    if not turn.done():
        turn.cancel()
    elif not turn.cancelled():  # it was this one's turn already
        line.release()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
