"""Notices when the engine does not answer, and when only structured output does not: vLLM compiles
grammars in a few threads, and one that does not end holds up every request with a schema.
replica.py runs it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from serving.request.traffic import Call

WAIT = 20.0  # seconds; a schema that the gate lets in compiles in a few
# Seconds without an answer for anybody while somebody waits. The longest prompt that is read alone
# takes less.
SILENT = 120.0
EVERY = 5.0
_GRAMMAR = "structured output is stuck: a grammar does not finish compiling"
_ENGINE = "the engine is stuck: it has answered nothing for minutes, and no test of ours either"
log = logging.getLogger("moorage.jam")


class Jam:
    """`message` says what is stuck, or is empty. Probes run only while a request waits long;
    `answered` is when the engine last answered anybody.
    """

    def __init__(
        self,
        calls: Callable[[], Iterable[Call]],
        plain: Callable[[], Awaitable[None]],
        structured: Callable[[], Awaitable[None]],
        answered: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        wait: float = WAIT,
    ) -> None:
        self._calls, self._plain, self._structured = calls, plain, structured
        self._answered = answered
        self._clock, self._wait = clock, wait
        self.message = ""

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Check once. When a request with a schema has waited long, any request for minutes in
        which nobody was answered, or the last check found a jam, send two requests of our own: one
        with a schema and one without.
        """
        now = self._clock()
        waiting = any(
            call.structured and call.first_token is None and now - call.began > self._wait
            for call in self._calls()
        )
        silent = now - self._answered() > SILENT and any(
            now - call.began > SILENT for call in self._calls()
        )
        if not waiting and not silent and not self.message:
            return
        if await self._answers(self._structured):
            self.message = ""
        elif await self._answers(self._plain):
            if not self.message:
                log.error("structured output does not answer, the rest of the engine does")
            self.message = _GRAMMAR
        elif silent and self._clock() - self._answered() > SILENT:
            if self.message != _ENGINE:
                log.error("the engine answers nothing")
            self.message = _ENGINE

    async def _answers(self, probe: Callable[[], Awaitable[None]]) -> bool:
        try:
            await asyncio.wait_for(probe(), self._wait)
        except Exception as error:  # noqa: BLE001 whatever it is, it is no answer
            log.info("a probe failed: %s", error or type(error).__name__)
            return False
        return True
