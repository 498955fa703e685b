"""The errors of training: each is one sentence, about a place in a file where there is one. Used by
every module of this package.
"""

from __future__ import annotations

from pathlib import Path


class TrainingError(Exception):
    """Training cannot continue. The message is all that a person sees; the run ends with
    `exit_code`.
    """

    exit_code = 1


class InputError(TrainingError):
    """The recipe or a dataset is wrong at `path:line:column` (both 1-based; left out when the whole
    file is meant).
    """

    exit_code = 2

    def __init__(
        self, path: Path, message: str, line: int | None = None, column: int | None = None
    ) -> None:
        place = str(path) if line is None else f"{path}:{line}:{column or 1}"
        super().__init__(f"{place}: {message}")
        self.path, self.line, self.column = path, line, column
