"""Long bodies take turns on their way to the engine: of each key one is parsed and tokenized at a
time, and the next goes to vLLM when the engine has that one.

vLLM tokenizes in one thread, first come, first served, so that a small chat would wait for all the
long prompts that came before it. exchange.py takes the turn, engine.py says when the engine has
the prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager

from serving.request.bodies import SLICE
from serving.request.traffic import Call
from serving.turns.lines import Lines, Receive

# A turn ends then in any case: what takes longer waits for something else, such as an image's host.
SECONDS = 1.0


class Preparations:
    """The turns of a replica's keys."""

    def __init__(self) -> None:
        self._lines = Lines()

    @asynccontextmanager
    async def turn(
        self, call: Call, size: int, receive: Receive, room: AbstractContextManager[None]
    ) -> AsyncIterator[None]:
        """Wait for the turn of the call's key with a body of so many bytes; what waits takes
        `room`. Raises ConnectionError when the client leaves while it waits, and what `room`
        raises.
        """
        if size <= SLICE:
            yield
            return
        release = await self._lines.enter(call.key, receive, room)
        call.on_engine = release
        timer = asyncio.get_running_loop().call_later(SECONDS, release)
        try:
            yield
        finally:
            timer.cancel()
            release()
