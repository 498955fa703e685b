"""A YAML value that knows where it was written, with YAML 1.2's core types and merge keys, and
nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

_CONSTANTS: dict[str, bool | None] = {"": None, "~": None}
_CONSTANTS |= {
    spelt: value
    for word, value in (("true", True), ("false", False), ("null", None))
    for spelt in (word, word.capitalize(), word.upper())
}
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_OTHER_INT = re.compile(r"0o(?P<octal>[0-7]{1,40})|0x(?P<hex>[0-9a-fA-F]{1,40})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,3})?")
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"

Report = Callable[["Position", str, str], None]


class Position(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


class UnusableNode(Exception):
    """The rest of the file cannot be understood because of what stands at `position`."""

    def __init__(self, position: Position, message: str, hint: str) -> None:
        super().__init__(message)
        self.position, self.message, self.hint = position, message, hint


class NodeKind(Enum):
    SCALAR = "scalar"
    SEQUENCE = "sequence"
    MAPPING = "mapping"


@dataclass(eq=False, slots=True)
class Node:
    """One value. `size` counts nodes with aliases expanded, `depth` levels; both are known before
    anything is expanded.
    """

    kind: NodeKind
    position: Position
    scalar: str | int | float | bool | None = None
    items: Sequence[Node] = ()
    entries: dict[str, tuple[Position, Node]] = field(default_factory=dict)
    size: int = 1
    depth: int = 1
    complete: bool = False
    merge_key: bool = False

    @property
    def is_null(self) -> bool:
        return self.kind is NodeKind.SCALAR and self.scalar is None

    def plain(self) -> Any:
        """Dicts, lists and scalars."""
        if self.kind is NodeKind.MAPPING:
            return {key: value.plain() for key, (_, value) in self.entries.items()}
        return (
            [item.plain() for item in self.items] if self.kind is NodeKind.SEQUENCE else self.scalar
        )

    def at(self, path: tuple[str | int, ...]) -> Node | None:
        """The node at `path`; None when there is none."""
        node = self
        for step in path:
            if isinstance(step, str) and step in node.entries:
                node = node.entries[step][1]
            elif isinstance(step, int) and 0 <= step < len(node.items):
                node = node.items[step]
            else:
                return None
        return node

    def find(self, path: tuple[str | int, ...], *, key: bool = False) -> Position:
        """Where the value at `path` stands (with `key`, the key that holds it); what is not there
        is at its nearest parent.
        """
        node, position = self, self.position
        for step in path:
            if isinstance(step, str) and step in node.entries:
                position, node = node.entries[step]
            elif isinstance(step, int) and 0 <= step < len(node.items):
                node = node.items[step]
                position = node.position
            else:
                return position
        return position if key else node.position


# What is no mapping shares one: a daemon keeps the nodes of all documents.
_NO_ENTRIES: dict[str, tuple[Position, Node]] = {}


def scalar(position: Position, text: str, tag: str | None, *, plain: bool) -> Node:
    """A scalar as YAML 1.2 reads it: only `true` and `false` are booleans, dates and `yes` are
    text.
    """
    kind = (tag or "").removeprefix(_TAG)
    if kind in {"", "!"}:
        value = _resolve(text) if plain and not kind else text
    elif kind == "str":
        value = text
    elif kind in {"int", "float", "bool", "null"}:
        value = _resolve(text)
    else:
        raise UnusableNode(position, f"the tag {_tag_name(tag)} is not known", "remove it")
    return Node(
        NodeKind.SCALAR,
        position,
        value,
        entries=_NO_ENTRIES,
        complete=True,
        merge_key=plain and text == _MERGE and not kind,
    )


def mapping(position: Position, tag: str | None) -> Node:
    """A mapping whose entries are still to come."""
    if tag not in {None, "!", _TAG + "map"}:
        raise UnusableNode(position, f"the tag {_tag_name(tag)} is not known", "remove it")
    return Node(NodeKind.MAPPING, position)


def sequence(position: Position, tag: str | None) -> Node:
    """A sequence whose items are still to come."""
    if tag not in {None, "!", _TAG + "seq"}:
        raise UnusableNode(position, f"the tag {_tag_name(tag)} is not known", "remove it")
    return Node(NodeKind.SEQUENCE, position, entries=_NO_ENTRIES)


def complete(node: Node, children: list[Node], report: Report) -> Node:
    """Give a mapping or sequence its children, in the order of the text; doubtful keys are reported
    and left out.
    """
    node.size += sum(child.size for child in children)
    node.depth += max((child.depth for child in children), default=0)
    node.complete = True
    if node.kind is NodeKind.SEQUENCE:
        node.items = children
        return node
    merged: list[Node] = []
    for key, value in zip(children[::2], children[1::2], strict=True):
        if key.merge_key:
            merged += _mergeable(key.position, value, report)
        elif _usable(key, value, node, report):
            node.entries[str(key.scalar)] = (key.position, value)
    for source in merged:
        for name, entry in source.entries.items():
            node.entries.setdefault(name, entry)
    return node


def _usable(key: Node, value: Node, node: Node, report: Report) -> bool:
    if not isinstance(key.scalar, str):
        shown = (
            "this"
            if key.kind is not NodeKind.SCALAR or key.scalar is None
            else str(key.scalar).lower()
        )
        hint = "a key is text: put it in quotes"
        if _is_number(key) and node.entries and value.scalar is None:  # as of `cpu: 0,5`
            hint = "a decimal number has a point, not a comma"
        report(key.position, f"{shown} cannot be a key", hint)
        return False
    if before := node.entries.get(key.scalar):
        report(
            key.position,
            f"the key {key.scalar!r} is written twice, first in line {before[0].line}",
            "keep one of them",
        )
        return False
    return True


def _is_number(node: Node) -> bool:
    return isinstance(node.scalar, int | float) and not isinstance(node.scalar, bool)


def _mergeable(position: Position, value: Node, report: Report) -> Iterator[Node]:
    sources = value.items if value.kind is NodeKind.SEQUENCE else [value]
    for source in sources:
        if source.kind is NodeKind.MAPPING:
            yield source
        else:
            report(
                position,
                "<< merges mappings only",
                "write <<: *name, where &name stands before a mapping",
            )


def _resolve(text: str) -> str | int | float | bool | None:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if other := _OTHER_INT.fullmatch(text):
        return int(other["octal"], 8) if other["octal"] else int(other["hex"], 16)
    return float(text) if _FLOAT.fullmatch(text) else text


def _tag_name(tag: str | None) -> str:
    return (tag or "").replace(_TAG, "!!")
