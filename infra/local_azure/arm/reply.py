"""What a handler answers with, and how the front makes pages of a list: `$top`, `$skipToken` and
the nextLink that leads to the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from .errors import ArmError, bad_request


@dataclass(frozen=True)
class Reply:
    """`body` None sends no body at all; anything else goes out as JSON, so a bare string is a JSON
    string. `items` is a whole list instead: the front makes and sends one page of it.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    items: Items | None = None


@dataclass(frozen=True)
class Items:
    """A list in its order; `show` makes what a client sees of each that is on its page. With a
    thousand apps a page must not cost ten.
    """

    each: Sequence[Any]
    show: Callable[[Any], Any]


def listed(each: Sequence[Any], show: Callable[[Any], Any] = lambda item: item) -> Reply:
    """A list in its order; see `Items`."""
    return Reply(200, items=Items(each, show))


def refused(error: ArmError) -> Reply:
    """The answer to a request that ended in an error."""
    return Reply(error.status, error.body(), error.headers)


def page(items: Items, query: Mapping[str, str], address: str, size: int) -> dict[str, Any]:
    """The body of one page. `address` is the list's URL without its query, `size` the most items
    of a page; the token in nextLink is the offset of the next page.
    """
    if "$top" in query:
        size = min(size, _number(query["$top"], "$top")) or size
    start = _number(query.get("$skipToken", "0"), "$skipToken")
    shown = [items.show(each) for each in items.each[start : start + size]]
    body: dict[str, Any] = {"value": shown}
    if start + size < len(items.each):
        following = urlencode({**query, "$skipToken": str(start + size)})
        body["nextLink"] = f"{address}?{following}"
    return body


def _number(text: str, name: str) -> int:
    if not text.isdigit():
        raise bad_request("InvalidParameter", f"The value '{text}' of {name} is not valid.")
    return int(text)
