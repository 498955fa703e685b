"""What a person sees while training: a bar with loss and time left on a terminal, plain lines in a
log.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_SECONDS = 10.0  # at most one plain line in this time


class TrainingProgress:
    """Draws on standard error, so that standard output stays for results."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def steps(
        self, name: str, total: int, done: int = 0
    ) -> Iterator[Callable[[float | None], None]]:
        """Count `total` steps; the yielded function takes the step's loss (None where there is
        none).
        """
        if done:
            self.note(f"{name}: going on at step {done + 1} of {total}")
        drawing = self._bar(name, total, done) if self._terminal else self._lines(name, total, done)
        with drawing as advance:
            yield advance

    @contextmanager
    def _bar(self, name: str, total: int, done: int) -> Iterator[Callable[[float | None], None]]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=Console(stderr=True), refresh_per_second=4) as bar:
            task = bar.add_task(name, total=total, completed=done, loss="")

            def advance(loss: float | None) -> None:
                bar.update(task, advance=1, loss="" if loss is None else f"loss {loss:.3f}")

            yield advance

    @contextmanager
    def _lines(self, name: str, total: int, done: int) -> Iterator[Callable[[float | None], None]]:
        started = time.monotonic()
        first, last = done, started

        def advance(loss: float | None) -> None:
            nonlocal done, last
            done += 1
            now = time.monotonic()
            if now - last < LINE_SECONDS and done < total:
                return
            last = now
            left = (now - started) / (done - first) * (total - done)
            said = "" if loss is None else f", loss {loss:.3f}"
            self.note(f"{name}: {done} of {total}{said}, {now - started:.0f} s, {left:.0f} s left")

        yield advance
