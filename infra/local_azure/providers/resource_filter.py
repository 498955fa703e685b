"""ARM's `$filter` on lists of resources and groups: comparisons joined by `and` and `or`, nothing
nested.
"""

import re
from collections.abc import Callable
from typing import Any

from infra.local_azure.arm.errors import bad_request

Body = dict[str, Any]
Test = Callable[[Body], bool]
_COMPARE = re.compile(r"([\w/]+)\s+(eq|ne)\s+'((?:[^']|'')*)'", re.IGNORECASE)
_CONTAINS = re.compile(r"substringof\(\s*'((?:[^']|'')*)'\s*,\s*(\w+)\s*\)", re.IGNORECASE)
_STARTS = re.compile(r"startswith\(\s*(\w+)\s*,\s*'((?:[^']|'')*)'\s*\)", re.IGNORECASE)


def matcher(text: str | None) -> Test:
    """A test of one listed item. `tagName eq 'a' and tagValue eq 'b'` means the pair, as in ARM."""
    if not text or not text.strip():
        return lambda _: True
    branches = [
        _every(branch) for branch in re.split(r"\s+or\s+", text.strip(), flags=re.IGNORECASE)
    ]
    return lambda item: any(branch(item) for branch in branches)


def _every(text: str) -> Test:
    parts = re.split(r"\s+and\s+", text, flags=re.IGNORECASE)
    pair = {
        match[1].lower(): match[3] for part in parts if (match := _COMPARE.fullmatch(part.strip()))
    }
    if set(pair) == {"tagname", "tagvalue"}:
        return lambda item: (item.get("tags") or {}).get(pair["tagname"]) == pair["tagvalue"]
    tests = [_one(part.strip()) for part in parts]
    return lambda item: all(test(item) for test in tests)


def _one(text: str) -> Test:
    if match := _COMPARE.fullmatch(text):
        field, wanted, same = (
            match[1],
            match[3].replace("''", "'").lower(),
            match[2].lower() == "eq",
        )
        return lambda item: (wanted in _values(item, field)) is same
    if match := _CONTAINS.fullmatch(text):
        field, wanted = match[2], match[1].lower()
        return lambda item: any(wanted in value for value in _values(item, field))
    if match := _STARTS.fullmatch(text):
        field, wanted = match[1], match[2].lower()
        return lambda item: any(value.startswith(wanted) for value in _values(item, field))
    raise bad_request(
        "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query string."
    )


def _values(item: Body, field: str) -> list[str]:
    """The values a field may have, in lower case."""
    tags = item.get("tags") or {}
    known: dict[str, list[str]] = {
        "resourcetype": [str(item["type"])],
        "type": [str(item["type"])],
        "name": [str(item["name"])],
        "location": [str(item["location"])],
        "resourcegroup": [str(item["id"]).split("/")[4]],
        "tagname": list(tags),
        "tagvalue": list(tags.values()),
    }
    if field.lower() not in known:
        raise bad_request(
            "InvalidFilterInQueryString", f"The property '{field}' in $filter is not supported."
        )
    return [value.lower() for value in known[field.lower()]]


def compared(text: str | None) -> Test:
    """A filter over fields of any name, all of them equal to a text, as lists of deployments take
    it.
    """
    wanted = {
        match[1].lower(): match[3].replace("''", "'")
        for match in _COMPARE.finditer(text or "")
        if match[2].lower() == "eq"
    }
    if text and not wanted:
        raise bad_request(
            "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query string."
        )
    return lambda item: all(
        any(
            str(value).lower() == want.lower()
            for name, value in item.items()
            if name.lower() == field
        )
        for field, want in wanted.items()
    )
