"""How many tokens of one key's prompts the engine reads at a time: what two of its steps take, or
one prompt. The key's next prompt goes to the engine when an earlier one has its first token.

vLLM reads prompts in the order in which they come, so that a small chat would wait for all long
prompts before it. Two steps' worth keeps the engine as busy as all of them would. engine.py uses
this.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from serving.request.traffic import Call

STEPS = 2


@dataclass(eq=False)
class Admission:
    """One prompt that the engine may read; `request` is vLLM's name for it, once it has one."""

    call: Call
    tokens: int
    request: str = ""
    ended: bool = False


class Prefills:
    """`room` is how many tokens a key may have in the engine before their first answer."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._reading: Counter[str] = Counter()
        self._lines: defaultdict[str, deque[tuple[int, asyncio.Future[None]]]] = defaultdict(deque)
        self._admitted: dict[str, Admission] = {}
        self.answered = time.monotonic()  # when the engine last had a token for anybody

    async def enter(self, call: Call, tokens: int) -> Admission:
        """Wait until the engine may read a prompt of so many tokens. The admission ends with the
        call at the latest.
        """
        whose, line = call.key, self._lines[call.key]
        if line or not self._fits(whose, tokens):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            line.append((tokens, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # it was this one's turn already
                    self._reading[whose] -= tokens
                self._move(whose)
                raise
        else:
            self._reading[whose] += tokens
        admission = Admission(call, tokens)
        call.on_end.append(lambda: self._end(admission))
        return admission

    def name(self, admission: Admission, request: str) -> None:
        """Note the name by which the engine knows the prompt."""
        if not admission.ended:
            admission.request = request
            self._admitted[request] = admission

    def follow(self, processor: Any) -> None:
        """Make vLLM's output processor end the admission of a request at its first output. An
        answer that is not streamed is seen outside only when it is complete.
        """
        process, states = processor.process_outputs, processor.request_states

        def processed(outputs: Any, *args: Any, **options: Any) -> Any:
            self.answered = time.monotonic()
            if self._admitted:
                self._answered(states.get(one.request_id) for one in outputs)
            return process(outputs, *args, **options)

        processor.process_outputs = processed

    def _answered(self, states: Iterable[Any]) -> None:
        for state in states:
            if state is not None and state.is_prefilling:
                parent = state.parent_req  # of the choices of one prompt
                name = state.request_id if parent is None else parent.request_id
                if (admission := self._admitted.get(name)) is not None:
                    admission.call.started()
                    self._end(admission)

    def _end(self, admission: Admission) -> None:
        if not admission.ended:
            admission.ended = True
            self._admitted.pop(admission.request, None)
            whose = admission.call.key
            self._reading[whose] -= admission.tokens
            self._move(whose)

    def _fits(self, whose: str, tokens: int) -> bool:
        reading = self._reading[whose]
        return not reading or reading + tokens <= self._room

    def _move(self, whose: str) -> None:
        """Admit the first prompts of each queue that fit."""
        line = self._lines[whose]
        while line:
            tokens, turn = line[0]
            if not turn.done():  # it is, where the request was cancelled
                if not self._fits(whose, tokens):
                    return
                self._reading[whose] += tokens
                turn.set_result(None)
            line.popleft()
        del self._lines[whose]
        if not self._reading[whose]:
            del self._reading[whose]
