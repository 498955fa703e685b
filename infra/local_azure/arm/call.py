"""One ARM request as a provider sees it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import bad_request
from .ids import Target
from .reply import Reply


@dataclass(frozen=True)
class Call:
    """`body` is the parsed JSON (None when there was none), `raw` the bytes it was parsed from;
    `base` is this server's URL without a slash at the end.
    """

    method: str
    target: Target
    query: Mapping[str, str]
    version: str
    body: Any
    base: str
    principal: str = "local"
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The body as an object; anything else is ARM's 400."""
        if not isinstance(self.body, dict):
            raise bad_request(
                "InvalidRequestContent",
                "The request content was invalid and could not be deserialized.",
            )
        return self.body


Handler = Callable[[Call], Reply | Awaitable[Reply]]
Routes = Mapping[str, Handler]
