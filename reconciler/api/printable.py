"""What may be shown of a text that others wrote: no character of it steers a terminal or turns text
round. cli/output/terminal.py, the log and the notices use it; web pages escape what they show.
"""

from __future__ import annotations

import re

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
