"""The fields of a provider's documents: their types, their api-versions, and how an empty one is
shown.

`read` takes what a client sent (names in any case, numbers as text), `render` writes a document for
an api-version. Documents are plain dictionaries of the fields that were given.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .errors import bad_request

Body = dict[str, Any]


class Empty(Enum):
    """How a client sees a field that holds nothing: as null, as no field, or as an empty string.

    OMITTED treats an empty string or list as nothing too; GIVEN shows them as they are.
    """

    NULL = "null"
    OMITTED = "omitted"
    BLANK = "blank"
    GIVEN = "given"


NULL, OMITTED, BLANK, GIVEN = Empty.NULL, Empty.OMITTED, Empty.BLANK, Empty.GIVEN
ALWAYS, NEVER = "", "9999"


@dataclass(frozen=True)
class Field:
    """`type` is text, whole, number, flag or any; `of` the shape of an object, or with `many` of a
    list's elements.

    `words` maps a lower-case value to Azure's spelling. `stable` and `preview` are the first
    api-versions that have the field, `until` the first that no longer does.
    """

    name: str
    type: str = "text"
    empty: Empty = NULL
    of: "Shape | None" = None
    many: bool = False
    words: tuple[str, ...] = ()
    stable: str = ALWAYS
    preview: str = ALWAYS
    until: str = NEVER

    def known(self, version: str) -> bool:
        return (
            (self.preview if version.endswith("preview") else self.stable) <= version < self.until
        )


@dataclass(frozen=True)
class Shape:
    fields: tuple[Field, ...]

    def read(self, sent: Any, where: str = "properties") -> Body:
        """The known fields that were given, in Azure's spelling; nulls and unknown names are left
        out.
        """
        if not isinstance(sent, dict):
            raise _invalid(where, sent, "an object")
        given = {str(key).lower(): value for key, value in sent.items()}
        return {
            field.name: _value(field, given[field.name.lower()], f"{where}.{field.name}")
            for field in self.fields
            if given.get(field.name.lower()) is not None
        }

    def blank(self) -> Body:
        """Every field without a value, to complete a document with."""
        return dict.fromkeys(field.name for field in self.fields)

    def render(self, document: Body, version: str) -> Body:
        """The document as this api-version shows it, every field in its place."""
        shown: Body = {}
        for field in self.fields:
            if not field.known(version):
                continue
            value = document.get(field.name)
            if value is None or (field.empty in {OMITTED, BLANK} and value in ([], "")):
                if field.empty in {NULL, BLANK}:
                    shown[field.name] = None if field.empty is NULL else ""
            elif field.of is None:
                shown[field.name] = value
            elif field.many:
                shown[field.name] = [field.of.render(entry, version) for entry in value]
            else:
                shown[field.name] = field.of.render(value, version)
        return shown


def _value(field: Field, value: Any, where: str) -> Any:
    if field.many:
        if not isinstance(value, list):
            raise _invalid(where, value, "a list")
        return [
            _one(field, entry, f"{where}[{place}]")
            for place, entry in enumerate(value)
            if entry is not None
        ]
    return _one(field, value, where)


def _one(field: Field, value: Any, where: str) -> Any:
    if field.of is not None:
        return field.of.read(value, where)
    if field.type == "any":
        return value
    if field.type == "flag":
        return _flag(value, where)
    if field.type in {"whole", "number"}:
        return _number(value, where, whole=field.type == "whole")
    if isinstance(value, dict | list):
        raise _invalid(where, value, "a string")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return next((word for word in field.words if word.lower() == text.lower()), text)


def _flag(value: Any, where: str) -> bool:
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise _invalid(where, value, "a boolean")
    return value


def _number(value: Any, where: str, *, whole: bool) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not math.isfinite(number) or (whole and not number.is_integer()):
        raise _invalid(where, value, "an integer" if whole else "a number")
    return int(number) if number.is_integer() else number


def _invalid(where: str, value: Any, wanted: str) -> Exception:
    shown = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    text = (
        f"The request content was invalid and could not be deserialized: {where} is {shown} and"
        f" must be {wanted}."
    )
    return bad_request("InvalidRequestContent", text)
