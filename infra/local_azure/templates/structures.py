"""Template functions on arrays, objects and numbers, comparisons among them."""

import json
from collections.abc import Callable
from typing import Any

from .texts import text


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is not true, the order of keys does not count."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def member(value: dict[str, Any], name: str) -> str | None:
    """The key of an object that `name` means: case does not count."""
    if name in value:
        return name
    return next((key for key in value if key.lower() == name.lower()), None)


def merged(one: Any, other: Any) -> Any:
    """Objects united all the way down; anything else is replaced."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    result = dict(one)
    for name, value in other.items():
        key = member(result, name)
        result[key or name] = merged(result[key], value) if key else value
    return result


def _union(*values: Any) -> Any:
    if all(isinstance(value, dict) for value in values):
        result: Any = {}
        for value in values:
            result = merged(result, value)
        return result
    found: list[Any] = []
    for value in values:
        found += [item for item in _array(value) if not any(same(item, known) for known in found)]
    return found


def _intersection(first: Any, *others: Any) -> Any:
    if isinstance(first, dict):
        return {
            key: value
            for key, value in first.items()
            if all(same(value, other.get(key)) for other in others)
        }
    return [
        item
        for item in _array(first)
        if all(any(same(item, one) for one in _array(other)) for other in others)
    ]


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("an array is expected")
    return value


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, dict):
        return member(value, str(part)) is not None
    return (
        any(same(part, item) for item in value)
        if isinstance(value, list)
        else text(part) in text(value)
    )


def _object(*pairs: Any) -> dict[str, Any]:
    if len(pairs) % 2:
        raise TypeError("keys and values must come in pairs")
    return {text(key): value for key, value in zip(pairs[::2], pairs[1::2], strict=True)}


def _length(value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise TypeError("a string, an array or an object is expected")
    return len(value)


def _first(value: Any) -> Any:
    return value[0] if value else "" if isinstance(value, str) else None


def _last(value: Any) -> Any:
    return value[-1] if value else "" if isinstance(value, str) else None


def _numbers(values: tuple[Any, ...]) -> list[int]:
    chosen = values[0] if len(values) == 1 and isinstance(values[0], list) else list(values)
    return [whole(value) for value in chosen]


def whole(value: Any) -> int:
    """The argument as an integer, or TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("an integer is expected")
    return value


def _divide(one: int, other: int) -> int:
    if other == 0:
        raise ValueError("the divisor is zero")
    return int(abs(whole(one)) // abs(whole(other)) * (1 if (one < 0) == (other < 0) else -1))


def _range(start: int, count: int) -> list[int]:
    if not 0 <= whole(count) <= 10000:
        raise ValueError("the count must be between 0 and 10000")
    return list(range(whole(start), start + count))


def _flatten(values: list[Any]) -> list[Any]:
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _try_get(value: Any, *path: Any) -> Any:
    """The value at the end of the path, or null where the path ends early."""
    for step in path:
        if (
            isinstance(value, dict)
            and isinstance(step, str)
            and (key := member(value, step)) is not None
        ):
            value = value[key]
        elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(one: Any, other: Any) -> bool:
        if not (isinstance(one, str) and isinstance(other, str)):
            whole(one), whole(other)
        return compare(one, other)

    return test


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda one, other: whole(one) + whole(other),
    "array": lambda value: value if isinstance(value, list) else [value],
    "contains": _contains,
    "createarray": lambda *values: list(values),
    "createobject": _object,
    "div": _divide,
    "empty": lambda value: value is None or _length(value) == 0,
    "equals": same,
    "false": lambda: False,
    "first": _first,
    "flatten": _flatten,
    "greater": _ordered(lambda one, other: one > other),
    "greaterorequals": _ordered(lambda one, other: one >= other),
    "indexfromend": lambda values, place: values[-place],
    "intersection": _intersection,
    "items": lambda value: [
        {"key": key, "value": value[key]} for key in sorted(value, key=str.lower)
    ],
    "last": _last,
    "length": _length,
    "less": _ordered(lambda one, other: one < other),
    "lessorequals": _ordered(lambda one, other: one <= other),
    "max": lambda *values: max(_numbers(values)),
    "min": lambda *values: min(_numbers(values)),
    "mod": lambda one, other: whole(one) - _divide(one, other) * other,
    "mul": lambda one, other: whole(one) * whole(other),
    "not": lambda value: not truth(value),
    "null": lambda: None,
    "objectkeys": lambda value: sorted(value, key=str.lower),
    "range": _range,
    "shallowmerge": lambda values: {key: item for value in values for key, item in value.items()},
    "skip": lambda value, count: value[max(0, whole(count)) :],
    "sub": lambda one, other: whole(one) - whole(other),
    "take": lambda value, count: value[: max(0, whole(count))],
    "true": lambda: True,
    "tryget": _try_get,
    "tryindexfromend": lambda values, place: (
        values[-place] if 0 < whole(place) <= len(values) else None
    ),
    "union": _union,
}


def truth(value: Any) -> bool:
    """The argument as a boolean, or TypeError."""
    if not isinstance(value, bool):
        raise TypeError("a boolean is expected")
    return value
