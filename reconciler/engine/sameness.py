"""Whether two plain values mean the same although they are spelled differently. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi)")
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_NO_LETTER = re.compile(r"[\s()]+")
_ID = "/subscriptions/"


def is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | Mapping | list | tuple) and not value)


def field_of(body: Any, *names: str) -> Any:
    """What stands below these names, each in any letters, as ARM reads them; None without it."""
    for name in names:
        if not isinstance(body, Mapping):
            return None
        if name in body:
            body = body[name]
            continue
        folded_name = name.casefold()
        body = next((v for n, v in body.items() if str(n).casefold() == folded_name), None)
    return body


def is_identical(left: Any, right: Any) -> bool:
    """Equal, and neither is a boolean where the other is a number."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def is_same(
    left: Any,
    right: Any,
    *,
    ignore_case: bool = False,
    quantity: bool = False,
    literal: bool = False,
) -> bool:
    """Whether the service would take one for the other: a number and its text, `1.0Gi` and `1Gi`,
    an ARM id in another case, one moment with and without its zone. `ignore_case`: case, spaces
    and the order of what commas separate mean nothing. `quantity`: texts are numbers. `literal`:
    two texts are the same only letter by letter, because programs read them and not the service.
    """
    if is_identical(left, right):
        return True
    if isinstance(left, bool) or isinstance(right, bool):
        return str(left).lower() == str(right).lower()
    if isinstance(left, str) and isinstance(right, str):
        return not literal and _same_text(left, right, ignore_case=ignore_case, quantity=quantity)
    first, second = _number(left), _number(right)
    return first is not None and first == second


def of_id(text: str) -> str:
    """An ARM id in lower case; any other text unchanged."""
    return text.casefold() if text.casefold().startswith(_ID) else text


def folded(text: str) -> str:
    """The text in lower case, without spaces and brackets, its comma-separated parts sorted."""
    if text.casefold().startswith(_ID):
        return text.casefold()
    return ",".join(sorted(_NO_LETTER.sub("", part).casefold() for part in text.split(",")))


def _same_text(left: str, right: str, *, ignore_case: bool, quantity: bool) -> bool:
    if left.casefold() == right.casefold() and left.casefold().startswith(_ID):
        return True
    if ignore_case and folded(left) == folded(right):
        return True
    first, second = _binary(left), _binary(right)
    if first is not None or second is not None:
        return first == second
    if _MOMENT.match(left) and _MOMENT.match(right):
        return _moment(left) == _moment(right)
    return quantity and _number(left) is not None and _number(left) == _number(right)


def _number(value: Any) -> Decimal | None:
    if not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _binary(text: str) -> Decimal | None:
    found = _QUANTITY.fullmatch(text)
    return Decimal(found[1]) * _BINARY[found[2]] if found else None


def _moment(text: str) -> datetime | str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
