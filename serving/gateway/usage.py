"""What each key has used of each model: counted while requests run, and handed on in lines that are
added up. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

from serving.gateway.routes import UsageLine

TAIL = 4096  # bytes of an answer's end, where its usage stands
# A replica tells its gateway in a comment behind a stream; a plain answer has OpenAI's own fields.
# Inside a text that a model made, the quotes would be escaped.
_INPUT = re.compile(rb'"(?:prompt|input)_tokens"\s*:\s*(\d{1,9})')
_OUTPUT = re.compile(rb'"(?:completion|output)_tokens"\s*:\s*(\d{1,9})')
_EXTRA_EVENTS = 3  # of a stream: the role, the end, the usage


@dataclass
class Used:
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    errors: int = 0
    wakeups: int = 0
    held_seconds: float = 0.0

    # Written without a loop, because this runs for every request.
    def __bool__(self) -> bool:
        counted = self.requests or self.input_tokens or self.output_tokens or self.errors
        return bool(counted or self.wakeups or self.held_seconds)

    def add(self, other: Used) -> None:
        self.requests += other.requests
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.errors += other.errors
        self.wakeups += other.wakeups
        self.held_seconds += other.held_seconds


@dataclass(eq=False)
class UsageMeter:
    """One request, or a try of one that is counted as a whole elsewhere (`part`). `told` is what
    was counted of it already, while it ran.
    """

    key: str
    model: str
    input_guess: int = 0
    events: int = 0
    failed: bool = False
    part: bool = False
    _tail: bytes = b""
    _told: Used = field(default_factory=Used)

    def saw(self, chunk: bytes) -> None:
        """Count a part of an answer."""
        self.events += chunk.count(b"data: ")
        self._tail = (self._tail + chunk)[-TAIL:] if len(chunk) < TAIL else chunk[-TAIL:]

    @property
    def tokens(self) -> tuple[int, int]:
        """Input and output tokens, as the answer reports them; until it does, a stream's events are
        counted.
        """
        given, made = _INPUT.findall(self._tail), _OUTPUT.findall(self._tail)
        if given:
            return int(given[-1]), int(made[-1]) if made else 0
        counted = max(0, self.events - _EXTRA_EVENTS)
        return (self.input_guess if counted else 0), counted

    def take(self, *, ended: bool) -> Used:
        """What is new since the last call."""
        given, made = self.tokens
        if not ended:
            made = max(0, self.events - _EXTRA_EVENTS)
            given = 0
        new = Used(
            requests=int(ended and not self.part),
            input_tokens=max(0, given - self._told.input_tokens),
            output_tokens=max(0, made - self._told.output_tokens),
            errors=int(ended and self.failed and not self.part),
        )
        self._told.add(new)
        return new


class Usage:
    """Totals since the start, for metrics, and the use that is not in a line yet."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self.totals: dict[tuple[str, str], Used] = {}
        self._untold: dict[tuple[str, str, str], Used] = {}
        self._running: set[UsageMeter] = set()

    def begin(self, key: str, model: str, input_guess: int) -> UsageMeter:
        meter = UsageMeter(key, model, input_guess)
        self._running.add(meter)
        return meter

    def end(self, meter: UsageMeter) -> None:
        self._running.discard(meter)
        self.add(meter.key, meter.model, meter.take(ended=True))

    def add(self, key: str, model: str, used: Used) -> None:
        if not used:
            return
        day = self._now().date().isoformat()
        self.totals.setdefault((key, model), Used()).add(used)
        self._untold.setdefault((day, key, model), Used()).add(used)

    def lines(self) -> list[UsageLine]:
        """What was used since the last call, running streams included."""
        for meter in self._running:
            self.add(meter.key, meter.model, meter.take(ended=False))
        untold, self._untold = self._untold, {}
        return [_line(*whose, used) for whose, used in untold.items()]

    def untell(self, lines: list[UsageLine]) -> None:
        """Take back lines that could not be written: their sums go into the next ones."""
        for line in lines:
            used = Used(**line.model_dump(exclude={"day", "key", "model"}))
            self._untold.setdefault((line.day, line.key, line.model), Used()).add(used)

    def __iter__(self) -> Iterator[tuple[tuple[str, str], Used]]:
        return iter(self.totals.items())


def _line(day: str, key: str, model: str, used: Used) -> UsageLine:
    values = {one.name: getattr(used, one.name) for one in fields(used)}
    return UsageLine(day=day, key=key, model=model, **values)
