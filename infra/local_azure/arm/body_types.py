"""The JSON types of request bodies, checked before a provider reads them, with the refusal of
Azure's deserializer.

A shape is a nested dictionary of field names with a type at its leaves, a list of one shape, or
`{"*": shape}` for any name. Each provider brings the shapes of its own types; its rules come later.
A null is allowed anywhere, unknown fields are ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any

from .errors import bad_request

TEXT, WHOLE, NUMBER, TRUTH, ANY = "String", "Int32", "Double", "Boolean", "Object"
COMMON: Any = {
    "location": TEXT,
    "tags": {"*": ANY},
    "identity": {"type": TEXT, "userAssignedIdentities": {"*": ANY}},
}
_MOST_WHOLE = 2**31 - 1


def read(shape: Any, body: Any) -> Any:
    """The body with every scalar of the type that `shape` names; ArmError 400 if one cannot be."""
    return _read(shape, body, "")


def known_fields(shape: Any, value: Any) -> Any:
    """Only the fields of `value` that `shape` names."""
    if isinstance(shape, list) and isinstance(value, list):
        return [known_fields(shape[0], each) for each in value]
    if isinstance(shape, dict) and isinstance(value, dict) and "*" not in shape:
        return {
            name: known_fields(shape[name], each) for name, each in value.items() if name in shape
        }
    return value


def _read(shape: Any, value: Any, path: str) -> Any:
    if value is None or shape == ANY:
        return value
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(value, "System.Collections.Generic.List", path)
        if None in value:
            raise _wrong(None, "System.Object", f"{path}[{value.index(None)}]")
        return [_read(shape[0], each, f"{path}[{index}]") for index, each in enumerate(value)]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise _wrong(value, "System.Object", path)
        known = {name.lower(): each for name, each in shape.items()}
        rest = shape.get("*", ANY)
        return {
            name: _read(known.get(name.lower(), rest), each, f"{path}.{name}".lstrip("."))
            for name, each in value.items()
        }
    try:
        return _SCALARS[shape](value)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(value, f"System.{shape}", path) from None


def _text(value: Any) -> str:
    """Azure's deserializer accepts a number for text, and text for a number."""
    if isinstance(value, (dict, list)):
        raise TypeError
    return value if isinstance(value, str) else str(value)


def _number(value: Any) -> int | float:
    if isinstance(value, (bool, dict, list)):
        raise TypeError
    number = float(value)
    if not abs(number) <= _MOST_WHOLE:
        raise ValueError
    return int(number) if number.is_integer() else number


def _whole(value: Any) -> int:
    number = _number(value)
    if not isinstance(number, int):
        raise TypeError
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise TypeError
    return value


_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    TEXT: _text,
    WHOLE: _whole,
    NUMBER: _number,
    TRUTH: _truth,
}


def _wrong(value: Any, kind: str, path: str) -> Exception:
    text = f"Error converting value '{str(value)[:40]}' to type '{kind}'. Path '{path}'."
    return bad_request(
        "InvalidRequestContent",
        f"The request content was invalid and could not be deserialized: '{text}'.",
    )
