"""What is wrong with a manifest: problems with a place, a sentence and what would be right; and the
error that carries them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing wrong; `line` and `column` count from 1, and are 0 where it is about a whole folder
    or a path with nothing there.
    """

    file: Path
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        if not self.line:
            return f"{self.file}: {text}"
        return f"{self.file}:{self.line}:{self.column}: {text}"

    def as_value(self) -> dict[str, str | int]:
        """The problem as JSON output shows it."""
        place: dict[str, str | int] = {
            "file": str(self.file),
            "line": self.line,
            "column": self.column,
        }
        return {**place, "message": self.message, "hint": self.hint}


class ManifestError(Exception):
    """A manifest that cannot be used. `problems` are all that was found, by place; printed one a
    line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))
