"""Reads untrusted texts within bounds: bytes, values, depth. Anything that mounts the share may
have written a file there, and anybody may have made a model or an adapter. Pure, and uses only the
standard library, so that both sides can import it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

SMALL = 4 << 20  # bytes of a report, a manifest, a model's config
# Without waiting: opening a pipe would block until somebody writes to it. Windows has no such flag,
# and needs O_BINARY so that bytes stay as they are.
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)
VALUES, DEPTH = 262_144, 64
_PIECE = 1 << 16
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[\[\]{},]', re.DOTALL)
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)


class UntrustedError(ValueError):
    """The text is beyond a bound, or has the wrong form; the message says which."""


class Shape:
    """Counts the values of a JSON text and their depth, slice by slice, without parsing the text.
    For a text that is not JSON the result has no meaning.
    """

    def __init__(self, most: int = VALUES) -> None:
        self.values = self.depth = 0
        self._most = most
        self.inside = False  # the last slice ended within a string
        self._level = 0
        self._carry = b""  # and on the first half of an escape

    def take(self, piece: bytes) -> None:
        """Look at the next slice.

        Raises:
            UntrustedError: there are too many values, or they lie too deep.
        """
        piece, at = self._carry + piece, 0
        self._carry = b""
        # A slice may end within a string, whose brackets and quotes are no structure.
        if self.inside:
            string = _STRING.match(piece)
            assert string is not None
            self._end(string, piece)
            at = string.end()
        for token in _TOKEN.finditer(piece, at):
            self.values += 1
            if token[0][:1] in b"[{":
                self._level += 1
                self.depth = max(self.depth, self._level)
            elif token[0] in b"]}":
                self._level -= 1
            elif token[0][:1] == b'"':
                self._end(token, piece)
            if self.values > self._most or self.depth > DEPTH:
                raise UntrustedError(
                    f"it holds more than {self._most} values, or more than {DEPTH} in each other"
                )

    def _end(self, string: re.Match[bytes], piece: bytes) -> None:
        self.inside = not string[1]
        if self.inside:
            self._carry = piece[string.end() :]


def parse(data: bytes, most: int = SMALL, values: int = VALUES) -> Any:
    """The value of a JSON text of at most so many bytes and values.

    Raises:
        UntrustedError: it is too long, too crowded, nested too deeply, or no JSON.
    """
    if len(data) > most:
        raise UntrustedError(f"it has more than {most} bytes")
    shape = Shape(values)
    for at in range(0, len(data), _PIECE):
        shape.take(data[at : at + _PIECE])
    try:
        return json.loads(data)
    except RecursionError:
        raise UntrustedError("it is nested too deeply") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise UntrustedError(f"it is not valid JSON: {str(error)[:200]}") from None


def read(path: Path, most: int = SMALL) -> bytes:
    """A regular file's bytes.

    Raises:
        UntrustedError: it is longer, or no regular file.
        OSError: it cannot be read.
    """
    number = os.open(path, _FLAGS)
    with open(number, "rb") as file:  # noqa: PTH123 a descriptor, not a path
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise UntrustedError("it is no regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise UntrustedError(f"it has more than {most} bytes")
    return data
