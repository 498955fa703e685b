"""Template functions on texts, and the conversions between texts and everything else."""

import base64
import json
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, urljoin

from .errors import TemplateError
from .hashing import unique_string

_NAMESPACE = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
_HOLE = re.compile(r"\{\{|\}\}|\{(\d+)(?:,(-?\d+))?(?::([^}]*))?\}|[{}]")


def shown(value: Any) -> str:
    """A value as .NET writes it into a text: True and False, compact JSON, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    return (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )


def text(value: Any) -> str:
    """The argument as a text, or TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"a string is expected, not {kind(value)}")
    return value


def kind(value: Any) -> str:
    """Newtonsoft's word for the type of a value."""
    words = {
        bool: "Boolean",
        int: "Integer",
        float: "Float",
        str: "String",
        list: "Array",
        dict: "Object",
    }
    return words.get(type(value), "Null")


def _format(pattern: str, *values: Any) -> str:
    def fill(hole: re.Match[str]) -> str:
        if hole[0] in {"{{", "}}"}:
            return hole[0][0]
        if hole[1] is None:
            raise ValueError(f"the format string '{pattern}' is not well formed")
        written = _styled(values[int(hole[1])], hole[3] or "")
        width = int(hole[2] or 0)
        return written.ljust(-width) if width < 0 else written.rjust(width)

    return _HOLE.sub(fill, text(pattern))


def _styled(value: Any, style: str) -> str:
    """The number formats of .NET that templates use: D3, X, N2, F1, 000."""
    match = re.fullmatch(r"([DdXxNnFf])(\d*)", style)
    if not isinstance(value, int | float) or isinstance(value, bool) or not style:
        return shown(value)
    if re.fullmatch("0+", style):
        return str(value).zfill(len(style))
    if match is None:
        raise ValueError(f"the number format '{style}' is not supported")
    letter, digits = match[1], int(match[2] or 0)
    if letter in "Dd":
        return str(int(value)).zfill(digits)
    if letter in "Xx":
        return format(int(value), letter).zfill(digits)
    return format(value, f"{',' if letter in 'Nn' else ''}.{digits if match[2] else 2}f")


def _concat(*values: Any) -> Any:
    if values and isinstance(values[0], list):
        return [item for value in values for item in _listed(value)]
    if any(isinstance(value, list | dict) for value in values):
        raise TypeError("the arguments must all be arrays or all be strings")
    return "".join(shown(value) for value in values)


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("the arguments must all be arrays or all be strings")
    return value


def _split(value: str, marks: Any) -> list[str]:
    chosen = [marks] if isinstance(marks, str) else list(marks)
    return re.split("|".join(re.escape(mark) for mark in chosen if mark), text(value))


def _substring(value: str, start: int, length: int | None = None) -> str:
    size = len(text(value)) - start if length is None else length
    if start < 0 or size < 0 or start + size > len(value):
        raise ValueError(
            "The index and length parameters must refer to a location within the string. The index"
            f" parameter: '{start}', the length parameter: '{size}', the length of the string"
            f" parameter: '{len(value)}'"
        )
    return value[start : start + size]


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        raise TypeError("a string or an integer is expected")
    return int(value)


def _bool(value: Any) -> bool:
    words = {"true": True, "false": False, "1": True, "0": False}
    return (
        words[value.lower()]
        if isinstance(value, str)
        else bool(_int(value))
        if not isinstance(value, bool)
        else value
    )


def _json(value: str) -> Any:
    try:
        return json.loads(text(value))
    except ValueError:
        raise TemplateError(
            "The template language function 'json' parameter is not valid. The provided value"
            f" '{value}' cannot be converted to the JSON object."
        ) from None


def _pad(value: Any, width: int, mark: str = " ") -> str:
    return shown(value).rjust(width, mark)


def _base64(value: str) -> str:
    return base64.b64encode(text(value).encode()).decode()


def _plain(value: str) -> str:
    return base64.b64decode(text(value), validate=True).decode()


def _data(value: str) -> str:
    return f"data:text/plain;charset=utf8;base64,{_base64(value)}"


def _from_data(value: str) -> str:
    head, _, rest = text(value).partition(",")
    return _plain(rest) if head.endswith(";base64") else unquote(rest)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "base64": _base64,
    "base64tostring": _plain,
    "base64tojson": lambda value: _json(_plain(value)),
    "bool": _bool,
    "concat": _concat,
    "datauri": _data,
    "datauritostring": _from_data,
    "endswith": lambda value, end: text(value).lower().endswith(text(end).lower()),
    "format": _format,
    "guid": lambda first, *more: str(uuid.uuid5(_NAMESPACE, "-".join(map(text, (first, *more))))),
    "indexof": lambda value, part: (
        value.index(part) if isinstance(value, list) and part in value
        else -1 if isinstance(value, list) else text(value).lower().find(text(part).lower())
    ),
    "int": _int,
    "join": lambda values, mark: text(mark).join(shown(value) for value in values),
    "json": _json,
    "lastindexof": lambda value, part: (
        len(value) - 1 - value[::-1].index(part) if isinstance(value, list) and part in value
        else -1 if isinstance(value, list) else text(value).lower().rfind(text(part).lower())
    ),
    "newguid": lambda: str(uuid.uuid4()),
    "padleft": _pad,
    "replace": lambda value, old, new: text(value).replace(text(old), text(new)),
    "split": _split,
    "startswith": lambda value, start: text(value).lower().startswith(text(start).lower()),
    "string": shown,
    "substring": _substring,
    "tolower": lambda value: text(value).lower(),
    "toupper": lambda value: text(value).upper(),
    "trim": lambda value: text(value).strip(),
    "uniquestring": lambda first, *more: unique_string(*map(text, (first, *more))),
    "uri": lambda base, path: urljoin(text(base), text(path)),
    "uricomponent": lambda value: quote(text(value), safe="-_.!~*'()"),
    "uricomponenttostring": lambda value: unquote(text(value)),
}  # fmt: skip
