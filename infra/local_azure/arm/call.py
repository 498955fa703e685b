"""One ARM request as a provider sees it, and what it answers with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import bad_request
from .ids import Target

if TYPE_CHECKING:
    from infra.local_azure.azure import Azure


@dataclass(frozen=True)
class Call:
    """`body` is the parsed JSON (None when there was none), `raw` what it was parsed from; `base`
    is this server's URL without a slash at the end.
    """

    azure: "Azure"
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


@dataclass(frozen=True)
class Reply:
    """`body` None sends no body at all; anything else goes out as JSON, so a bare string is a JSON
    string.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Reply | Awaitable[Reply]]
Routes = Mapping[str, Handler]
