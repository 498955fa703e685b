"""structlog set-up: JSON lines to a file or a pipe, pretty lines on a terminal; secrets are masked
on the way.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, TextIO

import structlog

_SECRET = re.compile(
    r"(mk-[A-Za-z0-9_-]{16,}|AccountKey=[^;\s]+|Bearer"
    r" [A-Za-z0-9._-]{16,}|sig=[A-Za-z0-9%+/=]{16,})"
)


def configure(stream: TextIO = sys.stderr, level: str = "INFO") -> None:
    """Send log lines to `stream`: pretty where a person looks, JSON where a program does."""
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
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=stream, format="%(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("azure").setLevel(logging.ERROR)  # the SDK logs whole requests


def mask(_logger: Any, _method: str, event: Any) -> Any:
    """Replace what looks like a secret in every text of an event: the last line of defence, not the
    first.
    """
    return {
        name: _SECRET.sub("(secret)", value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def keep_traceback(error: BaseException) -> Path:
    """Write an unknown error's traceback to a file for a bug report; users are shown
    where it is.
    """
    text = _SECRET.sub("(secret)", "".join(traceback.format_exception(error)))
    with tempfile.NamedTemporaryFile(
        "w", prefix="moorage-error-", suffix=".txt", delete=False
    ) as file:
        file.write(text)
    return Path(file.name)
