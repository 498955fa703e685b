"""YAML text -> nodes that know their place. Bounded before anything is expanded, and never more
than YAML 1.2's core types.

Built on ruamel's event parser, which neither recurses nor constructs: an alias bomb costs as much
as its text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from reconciler.api.problems import Problem
from reconciler.api.yaml_node import (
    Node,
    Position,
    UnusableNode,
    complete,
    mapping,
    scalar,
    sequence,
)
from reconciler.api.yaml_syntax import syntax_problem

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 40


def read_documents(file: Path, data: bytes, problems: list[Problem]) -> list[Node]:
    """The documents of one file that are not empty, up to the first syntax error; what is wrong
    goes to `problems`.
    """
    text = _text(file, data, problems)
    documents: list[Node] = []
    if text is None:
        return documents
    try:
        for node in _Builder(file, problems).documents(text):
            if not node.is_null:
                documents.append(node)  # noqa: PERF401 - what stands before an error counts
    except UnusableNode as error:
        problems.append(Problem(file, *error.position, error.message, error.hint))
    except (MarkedYAMLError, ReaderError) as error:
        problems.append(syntax_problem(file, text, error))
    except Exception as error:  # noqa: BLE001 - the parser has faults of its own on odd input; a user gets a place, not a traceback
        problems.append(
            Problem(
                file,
                1,
                1,
                f"this is not YAML that can be read ({type(error).__name__})",
                "remove odd characters",
            )
        )
    return documents


def _text(file: Path, data: bytes, problems: list[Problem]) -> str | None:
    if len(data) > MAX_BYTES:
        problems.append(
            Problem(
                file,
                1,
                1,
                f"the file has {len(data)} bytes",
                f"a manifest takes {MAX_BYTES}; split it",
            )
        )
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        problems.append(
            Problem(file, line, column, "the file is not UTF-8 here", "save it as UTF-8")
        )
        return None


class _Builder:
    """Turns events into nodes; one per file."""

    def __init__(self, file: Path, problems: list[Problem]) -> None:
        self._file = file
        self._problems = problems
        self._anchors: dict[str, Node] = {}

    def documents(self, text: str) -> Iterator[Node]:
        open_nodes: list[tuple[Node, list[Node]]] = []
        for count, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
            node: Node | None = None
            position = (
                Position(event.start_mark.line + 1, event.start_mark.column + 1)
                if event.start_mark
                else Position(1, 1)
            )
            if count > MAX_NODES:
                raise UnusableNode(
                    position, f"the file holds more than {MAX_NODES} values", "split it"
                )
            if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                start = (
                    mapping(position, event.tag)
                    if isinstance(event, MappingStartEvent)
                    else sequence(position, event.tag)
                )
                self._name(event.anchor, start)
                open_nodes.append((start, []))
                if len(open_nodes) > MAX_DEPTH:
                    raise UnusableNode(
                        position, "the nesting is too deep", f"a manifest takes {MAX_DEPTH} levels"
                    )
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                node = complete(*open_nodes.pop(), self._report)
            elif isinstance(event, ScalarEvent):
                node = scalar(position, event.value, event.tag, plain=event.implicit[0])
                self._name(event.anchor, node)
            elif isinstance(event, AliasEvent):
                node = self._alias(position, event.anchor)
            elif isinstance(event, DocumentEndEvent):
                self._anchors.clear()
            if node is not None:
                if node.size > MAX_NODES or node.depth > MAX_DEPTH:
                    raise UnusableNode(
                        node.position,
                        "the aliases expand to more than a manifest can be",
                        "write out what you mean",
                    )
                if open_nodes:
                    open_nodes[-1][1].append(node)
                else:
                    yield node

    def _name(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _alias(self, position: Position, anchor: str) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise UnusableNode(
                position,
                f"*{anchor} refers to nothing",
                f"put &{anchor} before the value it should repeat",
            )
        if not node.complete:
            raise UnusableNode(
                position, f"*{anchor} is inside of what it repeats", "write out what you mean"
            )
        return node

    def _report(self, position: Position, message: str, hint: str) -> None:
        self._problems.append(Problem(self._file, *position, message, hint))
