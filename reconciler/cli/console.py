"""Rich's console for all commands: Rich's own control sequences pass, control characters in texts
do not (terminal.py).
"""

from __future__ import annotations

from collections.abc import Iterable

import rich.console
from rich.segment import Segment

from reconciler.cli.terminal import clean


class Console(rich.console.Console):
    """Rich's, whose own control sequences pass while those within texts do not."""

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            segment if segment.control else Segment(clean(segment.text), segment.style)
            for segment in buffer
        )
