"""What `moorage up` tells a person: one line per thing that happens, a line that moves while something takes its time, and
the ready block.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from reconciler.cli.ready import ready_block
from reconciler.engine.record import Phase

if TYPE_CHECKING:
    from reconciler.engine.external import ObjectKey
    from reconciler.engine.result import Outcome
    from reconciler.settings import Settings

SLOW = (Phase.WORKING, Phase.UNREADY)
TROUBLE = (Phase.RETRYING, Phase.BLOCKED, Phase.STALLED, Phase.NOT_CONVERGING)
EVERY = 10.0  # seconds between lines about the same wait, where no terminal can show a moving one


class Narrator:
    """Fed by the controller with every outcome; prints only what is news."""

    def __init__(self, settings: Settings, *, quiet: bool) -> None:
        self.settings = settings
        self.console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self.daemon: Any = None
        self._said: dict[ObjectKey, str] = {}
        self._status = self.console.status("")
        self._last: dict[ObjectKey, float] = {}
        self._began = time.monotonic()

    def begin(self, daemon: Any) -> None:
        self.daemon = daemon
        self.console.print(f"target: [bold]{escape(self.settings.target_title)}[/]")
        if self.console.is_terminal:
            self._status.start()

    def saw(self, key: ObjectKey, outcome: Outcome, _took: float) -> None:
        """One pass over one key has ended."""
        if outcome.event is not None:
            self._line(key, outcome.event.message, "yellow" if outcome.event.type == "Warning" else "")
        elif outcome.phase in TROUBLE:
            self._news(key, f"{outcome.reason}: {outcome.message}", "red")
        elif outcome.phase in SLOW and outcome.message:
            self._waits(key, outcome.message)
        else:
            self._said.pop(key, None)

    def ready(self, code: int) -> None:
        self._status.stop()
        took = time.monotonic() - self._began
        if code == 0:
            self.console.print(f"\n[green]everything is as the documents say[/], after {took:.0f} s\n")
            self.console.print(escape(ready_block(self.daemon.store, self.settings)), soft_wrap=True)
        else:
            self.console.print("\n[red]not everything is as the documents say[/]; `moorage status` shows what is missing")

    def watching(self) -> None:
        self.console.print("watching; edit the file to change what is served, Ctrl-C stops watching")

    def end(self, *, once: bool) -> None:
        self._status.stop()
        if not once:
            self.console.print("\nstopped watching. What is deployed keeps running; `moorage down` removes it.")

    def _waits(self, key: ObjectKey, message: str) -> None:
        if self.console.is_terminal:
            self._status.update(f"{escape(str(key))}: {escape(message)}")
            return
        now = time.monotonic()
        if self._said.get(key) != message or now - self._last.get(key, 0.0) >= EVERY:
            self._last[key] = now
            self._said[key] = message
            self._line(key, message, "")

    def _news(self, key: ObjectKey, message: str, style: str) -> None:
        if self._said.get(key) != message:
            self._said[key] = message
            self._line(key, message, style)

    def _line(self, key: ObjectKey, message: str, style: str) -> None:
        clock = time.strftime("%H:%M:%S")
        text = escape(message)
        self.console.print(f"{clock}  {escape(str(key))}  {f'[{style}]{text}[/]' if style else text}")
