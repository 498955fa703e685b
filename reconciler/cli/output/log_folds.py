"""Folds repeated lines of a log on a terminal. `logs` prints what remains."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

KINDS = 4  # of lines that take turns: probes, vLLM's figures, and what the service itself repeats
_NUMBER = re.compile(r"\d+")
_ALARM = re.compile(r"(?i)error|warn|exception|traceback|fail")
# The first two lines of every log stream; nobody's container wrote them.
_GREETING = re.compile(r"(Connecting to the container '|Successfully Connected to container: ')")


class Fold:
    """Leaves out lines that are like one of the last few kinds of lines but for their numbers, and
    says how many: probes and vLLM's figures every ten seconds. A line that speaks of an error is
    always shown.
    """

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self._shown: deque[str] = deque(maxlen=KINDS)
        self._left_out: list[str] = []

    def lines(self, line: str) -> Iterator[str]:
        """What to print for the next line."""
        if not self.on:
            yield line
            return
        kind = _NUMBER.sub("0", line)
        if _GREETING.search(line):
            return
        if kind in self._shown and not _ALARM.search(line):
            self._left_out.append(kind)
            return
        yield from self.rest()
        self._shown.append(kind)
        yield line

    def rest(self) -> Iterator[str]:
        """How many lines were left out since the last one that was printed."""
        if self._left_out:
            like = "this" if set(self._left_out) == {self._shown[-1]} else "these"
            yield f"… {len(self._left_out)} more like {like}"
        self._left_out = []
