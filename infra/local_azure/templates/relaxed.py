"""The JSON that ARM reads in deployments, which is Newtonsoft's: comments, unquoted keys, 'quotes',
line breaks in strings.

The az CLI sends its templates as their authors wrote them, with an unquoted `template:` before
them, so strict JSON will not do.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/|\ufeff)*", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_$][\w$-]*")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_STRING = {mark: re.compile(rf"{mark}((?:[^{mark}\\]|\\.)*){mark}", re.DOTALL) for mark in "\"'"}
_WORDS = {"true": True, "false": False, "null": None, "undefined": None}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "0": "\0"}
_DEPTH = 128


@dataclass
class Document:
    """A read text: its value, and where each value begins (offsets by Newtonsoft path, in lower
    case).
    """

    text: str
    value: Any = None
    places: dict[str, int] = field(default_factory=dict)

    def line(self, path: str) -> tuple[int, int]:
        """Line and column of the value at `path`, or of the nearest one above that is known."""
        low = path.lower()
        while low and low not in self.places:
            low = re.sub(r"(\.[^.\[\]]*|\[[^\[\]]*\]|[^.\[\]]*)$", "", low)
        place = self.places.get(low, 0)
        before = self.text[:place]
        return before.count("\n") + 1, place - (before.rfind("\n") + 1) + 1


def read(text: str) -> Document:
    """Read it; ValueError says what is wrong and where, as json.loads does."""
    reader = _Reader(Document(text))
    reader.document.value = reader.value("", 0)
    reader.space()
    if reader.at < len(text):
        raise json.JSONDecodeError("Extra data", text, reader.at)
    return reader.document


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.at = 0

    def space(self) -> str:
        """Skip to the next character that means something; empty at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def fail(self, what: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(what, self.text, self.at)

    def value(self, path: str, depth: int) -> Any:
        mark = self.space()
        self.document.places[path.lower()] = self.at
        if depth > _DEPTH:
            raise self.fail(f"The reader's MaxDepth of {_DEPTH} has been exceeded")
        if mark == "{":
            return self.object(path, depth)
        if mark == "[":
            return self.array(path, depth)
        if mark and mark in "\"'":
            return self.string()
        if match := _NUMBER.match(self.text, self.at):
            self.at = match.end()
            return float(match[0]) if match[1] or match[2] else int(match[0])
        if (match := _KEY.match(self.text, self.at)) and match[0] in _WORDS:
            self.at = match.end()
            return _WORDS[match[0]]
        raise self.fail("Expecting value")

    def object(self, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.at += 1
        while (mark := self.space()) != "}":
            if mark and mark in "\"'":
                key = self.string()
            elif match := _KEY.match(self.text, self.at):
                key, self.at = match[0], match.end()
            else:
                raise self.fail("Expecting property name")
            if self.space() != ":":
                raise self.fail("Expecting ':' delimiter")
            self.at += 1
            found[key] = self.value(f"{path}.{key}" if path else key, depth + 1)
            self.comma("}")
        self.at += 1
        return found

    def array(self, path: str, depth: int) -> list[Any]:
        found: list[Any] = []
        self.at += 1
        while self.space() != "]":
            found.append(self.value(f"{path}[{len(found)}]", depth + 1))
            self.comma("]")
        self.at += 1
        return found

    def comma(self, end: str) -> None:
        """Between members; one after the last is allowed."""
        mark = self.space()
        if mark == ",":
            self.at += 1
        elif mark != end:
            raise self.fail("Expecting ',' delimiter")

    def string(self) -> str:
        match = _STRING[self.text[self.at]].match(self.text, self.at)
        if match is None:
            raise self.fail("Unterminated string")
        self.at = match.end()
        text = _ESCAPE.sub(
            lambda one: (
                chr(int(one[1][1:], 16)) if len(one[1]) == 5 else _ESCAPES.get(one[1], one[1])
            ),
            match[1],
        )
        return (
            text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if "\\u" in match[1]
            else text
        )
