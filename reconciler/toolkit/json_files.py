"""Reads the JSON files of a project, each value with its place. An error in them is a `Problem`, as
in a document.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.api.manifest_files import read_file
from reconciler.api.problems import Problem
from reconciler.api.yaml_node import Node, NodeKind
from reconciler.api.yaml_tree import read_documents


class Value(NamedTuple):
    """A value that is set, and its place."""

    value: Any
    file: Path
    line: int
    column: int

    def problem(self, message: str, hint: str = "") -> Problem:
        return Problem(self.file, self.line, self.column, message, hint)

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


Values = Mapping[str, Value]
Check = Callable[[Any], str]  # what is wrong with a value, "" if nothing


def read_object(file: Path, problems: list[Problem]) -> Node | None:
    """The object in the file. JSON is read as YAML, because the YAML reader knows the place of each
    value and accepts comments.
    """
    data = read_file(file, problems)
    if data is None:
        return None
    before = len(problems)
    nodes = read_documents(
        file, data.replace(b"\t", b" "), problems
    )  # YAML indents with spaces only
    if len(problems) > before:
        return None
    if len(nodes) != 1 or nodes[0].kind is not NodeKind.MAPPING:
        problems.append(
            Problem(file, 1, 1, "this is not a JSON object", "begin with { and end with }")
        )
        return None
    return nodes[0]


def known_values(
    file: Path, node: Node, checks: Mapping[str, Check], what: str, problems: list[Problem]
) -> dict[str, Value]:
    """The values of `node` that are not null; unknown keys and values that fail their check become
    problems.
    """
    found = {}
    for key, (mark, inner) in node.entries.items():
        if key not in checks:
            problems.append(
                Problem(file, *mark, f"there is no {what} {key!r}", _meant(key, checks))
            )
        elif not inner.is_null:
            value = Value(inner.plain(), file, *inner.position)
            if fault := checks[key](value.value):
                problems.append(value.problem(f"{key} {fault}"))
            else:
                found[key] = value
    return found


def text(value: Any) -> str:
    return (
        ""
        if isinstance(value, str) and value.strip()
        else f"must be text or null, not {shown(value)}"
    )


def texts(value: Any) -> str:
    good = (
        isinstance(value, list)
        and value
        and all(isinstance(each, str) and each.strip() for each in value)
    )
    return "" if good else f"must be a list of commands, each a text, not {shown(value)}"


def count(value: Any) -> str:
    good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100
    return "" if good else f"must be a whole number from 1 to 100, not {shown(value)}"


def seconds(value: Any) -> str:
    good = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return "" if good else f"must be a number of seconds, not {shown(value)}"


def shown(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."


def _meant(key: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(key.lower(), [each.lower() for each in known], n=1)
    meant = next((each for each in known if close and each.lower() == close[0]), None)
    return f"did you mean {meant}?" if meant else f"known are {', '.join(known)}"
