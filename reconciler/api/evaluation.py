"""An evaluation file: prompts and what their answers must contain, as JSON lines or a YAML list.
Every problem has its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.api.loaded import Loaded
from reconciler.api.problems import Problem
from reconciler.api.regular_files import read_regular
from reconciler.api.yaml_node import NodeKind
from reconciler.api.yaml_tree import read_documents
from serving.catalogue import Expectation

MOST_CASES, MOST_BYTES, MOST_TOKENS = 200, 256 << 10, 512
SHAPE = "write prompt and expect, for example {prompt: What is the capital of Italy?, expect: Rome}"
_KEYS = {"prompt", "expect", "maxTokens"}


class _Case(NamedTuple):
    line: int
    column: int
    value: Any


def evaluation_problems(loaded: Loaded) -> Iterator[Problem]:
    """What is wrong with the evaluation files that a document names."""
    for path, file in loaded.files():
        problems: list[Problem] = []
        if not os.path.isfile(file):  # noqa: PTH113 false for what cannot be looked at
            shown = str(file) if len(str(file)) < 300 else f"{str(file)[:100]}..."
            yield loaded.problem(
                path,
                f"{shown} is not a file",
                f"paths start from {loaded.base_dir}, where this file lies",
            )
            continue
        read_evaluation(file, problems)
        yield from problems


def read_evaluation(file: Path, problems: list[Problem]) -> tuple[Expectation, ...]:
    """The cases of a file; what is wrong goes to `problems`."""
    try:
        data = read_regular(file, MOST_BYTES + 1)
    except OSError as error:
        problems.append(
            Problem(file, 1, 1, f"it cannot be read ({error.strerror})", "make it readable")
        )
        return ()
    if len(data) > MOST_BYTES:
        problems.append(
            Problem(
                file, 1, 1, f"the file has more than {MOST_BYTES} bytes", "split it or shorten it"
            )
        )
        return ()
    cases = list(
        _lines(file, data, problems)
        if file.suffix.lower() == ".jsonl"
        else _items(file, data, problems)
    )
    found = [case for each in cases if (case := _case(file, each, problems))]
    if not cases and not problems:
        problems.append(Problem(file, 1, 1, "the evaluation is empty", SHAPE))
    if len(cases) > MOST_CASES:
        last = cases[MOST_CASES]
        problems.append(
            Problem(
                file,
                last.line,
                last.column,
                f"there are {len(cases)} prompts",
                f"an evaluation takes {MOST_CASES}",
            )
        )
    return tuple(found)


def _lines(file: Path, data: bytes, problems: list[Problem]) -> Iterator[_Case]:
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield _Case(number, 1, json.loads(line))
        except json.JSONDecodeError as error:
            problems.append(
                Problem(
                    file,
                    number,
                    error.colno,
                    f"this line is not JSON: {error.msg}",
                    "write one object a line",
                )
            )
        except ValueError:
            problems.append(
                Problem(file, number, 1, "this line is not UTF-8", "save the file as UTF-8")
            )


def _items(file: Path, data: bytes, problems: list[Problem]) -> Iterator[_Case]:
    for node in read_documents(file, data, problems):
        if node.kind is not NodeKind.SEQUENCE:
            problems.append(
                Problem(file, *node.position, "this is not a list", "start each prompt with '- '")
            )
            continue
        yield from (_Case(*item.position, item.plain()) for item in node.items)


def _case(file: Path, case: _Case, problems: list[Problem]) -> Expectation | None:
    value, wrong = case.value, ""
    if not isinstance(value, dict):
        wrong = "this is not a prompt with its expectation"
    elif unknown := sorted(set(map(str, value)) - _KEYS):
        wrong = f"unknown key {unknown[0]!r}"
    elif missing := [
        key
        for key in ("prompt", "expect")
        if not (isinstance(value.get(key), str) and value[key].strip())
    ]:
        wrong = f"{missing[0]} is missing or no text"
    elif not _is_count(value.get("maxTokens", 32)):
        wrong = f"maxTokens is no whole number from 1 to {MOST_TOKENS}"
    if wrong:
        problems.append(Problem(file, case.line, case.column, wrong, SHAPE))
        return None
    return Expectation(
        prompt=value["prompt"], expect=value["expect"], max_tokens=value.get("maxTokens", 32)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_TOKENS
