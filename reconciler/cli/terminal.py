"""The one place where texts of others (reports, logs, documents, models' answers) reach a terminal:
control characters are shown and have no effect. `app.run` puts `guarded` around every command;
Rich's output goes through console.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
# C0 but tab and newline, DEL, C1, marks that turn the direction of text, halves of surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def clean(text: str) -> str:
    """`text` without colours; every other control character is written out."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(_spelt, _COLOURS.sub("", text.replace("\r\n", "\n")))


def _spelt(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


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
