"""The one place where texts of others (reports, logs, documents, models' answers) reach a terminal:
control characters are shown and have no effect (printable.py). `app.run` puts `guarded` around
every command; Rich's output goes through console.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from reconciler.api.printable import clean


class _Clean:
    """A stream that cleans what is printed to it; rich writes to `rich_proxied_file` instead."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(clean(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Clean everything that is printed to standard output and standard error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Clean(before[0]), _Clean(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
