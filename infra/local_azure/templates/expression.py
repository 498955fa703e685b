"""The syntax of template expressions: `[concat(parameters('a'), variables('b').c[0])]` to a tree.
`evaluation` walks it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from .errors import TemplateError

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_][\w]*)|(?P<mark>[()\[\],.]))"
)
_LONGEST = 24576
_NAMES = {
    "(": "LeftParenthesis",
    ")": "RightParenthesis",
    "[": "LeftSquareBracket",
    "]": "RightSquareBracket",
    ",": "Comma",
}


@dataclass(frozen=True)
class Literal:
    value: str | int


@dataclass(frozen=True)
class FunctionCall:
    """`name` in lower case; a user's function has its namespace and a dot in it."""

    name: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True)
class Member:
    """A property (by name) or an element (by number) of a value."""

    of: "Node"
    key: "Node"


Node = Literal | FunctionCall | Member


def is_expression(value: object) -> bool:
    """`[[` begins a text that only looks like one."""
    return (
        isinstance(value, str)
        and value.startswith("[")
        and value.endswith("]")
        and not value.startswith("[[")
    )


def literal(text: str) -> str:
    """A text that is no expression, with the doubled bracket that says so undone."""
    return text[1:] if text.startswith("[[") and text.endswith("]") else text


@lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    """Read `[…]`; TemplateError when it is not well formed."""
    if len(text) > _LONGEST:
        raise TemplateError(
            f"The language expression length limit exceeded. Limit: '{_LONGEST}' and actual:"
            f" '{len(text)}'."
        )
    parser = _Parser(text[1:-1])
    try:
        node = parser.expression()
    except RecursionError:
        raise TemplateError("The language expression is nested too deeply.") from None
    if parser.kind != "EndOfData":
        raise parser.fail("EndOfData")
    return node


class _Parser:
    """One token of lookahead: its kind and its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.kind = self.token = ""
        self.next()

    def next(self) -> str:
        """Move on; the token that was current."""
        past = self.token
        if not self.text[self.at :].strip():
            self.kind, self.token = "EndOfData", ""
            return past
        match = _TOKEN.match(self.text, self.at)
        if match is None or match.lastgroup is None:
            where = f"{self.text[self.at :].strip()[:1]}"
            raise TemplateError(
                f"Unable to parse language expression '{self.text}': unexpected character"
                f" '{where}'."
            )
        self.at, self.kind, self.token = match.end(), match.lastgroup, match[match.lastgroup]
        return past

    def fail(self, wanted: str) -> TemplateError:
        actual = (
            self.kind
            if self.kind == "EndOfData"
            else _NAMES.get(self.token, self.kind.capitalize())
        )
        return TemplateError(
            f"Unable to parse language expression '{self.text}': expected token '{wanted}' and"
            f" actual '{actual}'."
        )

    def take(self, mark: str) -> None:
        if self.token != mark or self.kind != "mark":
            raise self.fail(_NAMES.get(mark, mark))
        self.next()

    def expression(self) -> Node:
        node = self.primary()
        while self.kind == "mark" and self.token in {".", "["}:
            if self.next() == ".":
                if self.kind not in {"name", "number"}:
                    raise self.fail("Identifier")
                node = Member(node, Literal(self.next()))
            else:
                node = Member(node, self.expression())
                self.take("]")
        return node

    def primary(self) -> Node:
        if self.kind == "text":
            return Literal(self.next()[1:-1].replace("''", "'"))
        if self.kind == "number":
            return Literal(int(self.next()))
        if self.kind != "name":
            raise self.fail("LeftParenthesis")
        name = self.next()
        if self.kind == "mark" and self.token == ".":  # contoso.uniqueName(…)
            self.next()
            name += "." + self.next()
        self.take("(")
        arguments: list[Node] = []
        more = self.token != ")"
        while more:
            arguments.append(self.expression())
            if more := self.token == ",":
                self.next()
        self.take(")")
        return FunctionCall(name.lower(), tuple(arguments))
