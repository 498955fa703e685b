"""The body of a resource as JSON, read as strictly as Resource Manager reads one. Pure; `diff`
reads its two files with it.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100  # levels; Resource Manager takes fewer, and the comparison walks each of them


class BodyError(Exception):
    """The text is no body of a resource; the message begins with line:column."""


def body_of(text: str) -> dict[str, Any]:
    """The JSON object that the text is.

    Raises:
        BodyError: it is none, or one that two programs may read differently.
    """
    if not text.strip():
        raise BodyError("1:1: the file is empty")
    try:
        body = json.loads(
            text, parse_constant=_no_number, parse_float=_number, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        place = f"{error.lineno}:{error.colno}"
        raise BodyError(f"{place}: this is no JSON: {error.msg}") from None
    except RecursionError:
        raise BodyError("1:1: it is nested too deeply") from None
    except ValueError as error:  # also of an integer with more digits than Python reads
        raise BodyError(f"1:1: this is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise BodyError(f"1:1: the body of a resource is a JSON object, not {json_type(body)}")
    if _is_deeper(body, DEEPEST):
        raise BodyError(f"1:1: it is nested too deeply: more than {DEEPEST} levels")
    return body


def json_type(value: Any) -> str:
    """What JSON calls the value."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return (
        "an array"
        if isinstance(value, list)
        else "a text"
        if isinstance(value, str)
        else "a number"
    )


def _no_number(word: str) -> None:
    """NaN and Infinity, which Python's parser takes and JSON does not have."""
    raise ValueError(f"{word} is no number")


def _number(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word} is too large a number")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(level)
