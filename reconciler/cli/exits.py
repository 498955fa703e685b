"""Exit codes, and the errors that become one clear sentence instead of a traceback."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit code of a command."""

    DONE = 0
    FAILED = 1
    INVALID = 2
    PENDING = 3
    HUMAN = 4
    TIMED_OUT = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """A sentence for the user and the exit code that goes with it."""

    def __init__(self, message: str, code: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def words(error: Exception) -> str:
    """What an error of the operating system says, without its number."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
