"""Rich's console for all commands: Rich's own control sequences pass, control characters in texts
do not (terminal.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, Any, cast

import rich.console
from rich.segment import Segment

from reconciler.api.printable import clean


class Console(rich.console.Console):
    """Rich's, whose own control sequences pass while those within texts do not. What is no terminal
    has no width: lines are not broken there. NO_COLOR leaves plain text.
    """

    def __init__(self, **options: Any) -> None:
        if os.environ.get("NO_COLOR"):
            options["color_system"] = None  # no bold and no dim either
        # Texts of others are shown as they are, not with pictures for `:key:`; and the daemon does
        # without the table of their names, which is 0.6 MB.
        super().__init__(emoji=False, **options)
        self.soft_wrap = self.soft_wrap or not self.is_terminal

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            segment if segment.control else Segment(clean(segment.text), segment.style)
            for segment in buffer
        )

    def on_broken_pipe(self) -> None:
        """`app.run` knows what to do when the reader has gone; Rich would end with exit code 1."""
        raise BrokenPipeError

    @property
    def file(self) -> IO[str]:
        """The stream itself. Rich's `Live` puts a stream of its own before the one that cleans, and
        unwraps only one of the two; what Rich writes would then be cleaned of its own sequences.
        """
        stream: Any = super().file
        while (inner := getattr(stream, "rich_proxied_file", None)) is not None:
            stream = inner
        return cast("IO[str]", stream)

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream
