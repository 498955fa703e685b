"""Lists: `$top`, `$skipToken` and the nextLink that leads to the rest."""

from typing import Any
from urllib.parse import quote, urlencode

from .call import Call, Reply
from .errors import bad_request


def page(call: Call, items: list[Any]) -> Reply:
    """One page of `items` in their order; the token is the offset of the next page."""
    size = call.azure.options.page_size
    if "$top" in call.query:
        size = min(size, _number(call.query["$top"], "$top")) or size
    start = _number(call.query.get("$skipToken", "0"), "$skipToken")
    body: dict[str, Any] = {"value": items[start : start + size]}
    if start + size < len(items):
        query = {**call.query, "$skipToken": str(start + size)}
        body["nextLink"] = f"{call.base}{quote(call.target.path)}?{urlencode(query)}"
    return Reply(200, body)


def _number(text: str, name: str) -> int:
    if not text.isdigit():
        raise bad_request("InvalidParameter", f"The value '{text}' of {name} is not valid.")
    return int(text)
