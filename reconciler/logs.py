"""structlog set-up: JSON lines to a file or a pipe, pretty lines on a terminal; secrets are masked
on the way.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from reconciler.api.printable import clean

_SECRET = re.compile(
    r"(mk-[A-Za-z0-9_-]{16,}|AccountKey=[^;\s]+|Bearer [A-Za-z0-9._-]{16,}"
    r"|sig=[A-Za-z0-9%+/=]{16,}|hf_[A-Za-z0-9]{16,})"
)


class TolerantStream:
    """A stream that drops lines when the log cannot be written, instead of stopping the daemon. It
    says so once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told = False

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:
            self._complain(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._complain(error)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def _complain(self, error: Exception) -> None:
        if isinstance(error, ValueError):
            return  # closed: the process is ending
        if not self._told:
            self._told = True
            with suppress(OSError, ValueError):
                print(f"the log cannot be written, lines are lost: {error}", file=sys.stderr)


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """The log file for appending; stderr where there can be none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        print(f"{path} cannot be written ({error.strerror}); the log follows here", file=sys.stderr)
        yield sys.stderr
        return
    try:
        yield file
    finally:
        with suppress(OSError):  # lines that a full disk did not take are lost
            file.close()


def configure(stream: TextIO = sys.stderr, level: str = "INFO", *, last: bool = True) -> None:
    """Send log lines to `stream`: pretty where a person looks, JSON where a program does. Without
    `last` they can be sent elsewhere later.
    """
    stream = cast(TextIO, TolerantStream(stream))
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=last,
    )
    if not last:
        return
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_CleanFormatter("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("azure").setLevel(logging.ERROR)  # the SDK logs whole requests


def masked(text: str) -> str:
    """`text` without what looks like a secret."""
    return _SECRET.sub("(secret)", text)


def mask(_logger: Any, _method: str, event: Any) -> Any:
    """Replace what looks like a secret in every text of an event: the last line of defence, not the
    first. What steers a terminal is spelt out, because logs are read on one.
    """
    return {
        name: clean(masked(value)) if isinstance(value, str) else value
        for name, value in event.items()
    }


class _CleanFormatter(logging.Formatter):
    """Cleans the log lines of libraries, which contain answers of servers."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(masked(super().format(record)))


def keep_traceback(error: BaseException) -> Path:
    """Write an unknown error's traceback to a file for a bug report; users are shown
    where it is.
    """
    text = masked("".join(traceback.format_exception(error)))
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="moorage-error-", suffix=".txt", delete=False
    ) as file:
        file.write(text)
    return Path(file.name)
