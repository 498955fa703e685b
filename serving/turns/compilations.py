"""Large grammars take turns: of each key one is compiled at a time, and the next request with a new
one goes to vLLM when the first has its first token.

vLLM compiles in a few threads, first come, first served, so that one client with many schemas would
keep those of all others waiting. A grammar that has been compiled once does not wait again: vLLM
keeps it. schemas.py says what is large; exchange.py takes the turn.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serving.request.answers import refuse
from serving.request.bodies import RefusedError
from serving.request.schemas import Grammar
from serving.request.traffic import Call
from serving.turns.lines import Lines, Receive

WAITING = 32  # requests of one key, so that they do not use up what the service answers at a time
_KEPT = 4096  # digests of grammars that were compiled here
# Of a core, for each part. A compilation goes on after its client has left, so its key waits for
# about as long as it takes.
SECONDS_A_PART = 0.002


class Compilations:
    """The turns of a replica's keys."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._known: OrderedDict[str, None] = OrderedDict()

    @asynccontextmanager
    async def turn(
        self, whose: str, grammar: Grammar | None, call: Call, receive: Receive
    ) -> AsyncIterator[None]:
        """Wait for the key's turn, and give it on at the call's first token. Raises ConnectionError
        when the client leaves while it waits, RefusedError when too many wait.
        """
        if grammar is None or not self._new(grammar):
            yield
            return
        if self._lines.waiting[whose] >= WAITING:
            text = (
                f"{WAITING} requests with new schemas of this key wait already; try again in 1 s."
            )
            raise RefusedError(refuse(429, text, "rate_limit_exceeded", (b"retry-after", b"1")))
        release = await self._lines.enter(whose, receive)
        if not self._new(grammar):  # the request before had the same one
            release()
            yield
            return

        def compiled() -> None:
            self._remember(grammar.digest)
            release()

        call.on_first_token = compiled
        try:
            yield
        finally:
            if call.first_token is None:
                wait = grammar.parts * SECONDS_A_PART
                asyncio.get_running_loop().call_later(wait, release)

    def _new(self, grammar: Grammar | None) -> bool:
        return grammar is not None and grammar.digest not in self._known

    def _remember(self, digest: str) -> None:
        self._known[digest] = None
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
