"""Errors in OpenAI's shape: the gate's own, and vLLM's translated into the codes that OpenAI's
clients know.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

_LISTED = 20
_TYPES = {429: "rate_limit_error", 403: "permission_error"}


@dataclass(frozen=True)
class Answer:
    """A complete JSON answer of the gate's own."""

    status: int
    body: bytes
    headers: Headers = ()

    async def __call__(self, send: Send) -> None:
        length = str(len(self.body)).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", length),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def refuse(
    status: int,
    message: str,
    code: str | None,
    *headers: tuple[bytes, bytes],
    param: str | None = None,
) -> Answer:
    """An error in OpenAI's shape, which every OpenAI client turns into its own exceptions."""
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Answer(status, json.dumps({"error": error}).encode(), headers)


def too_large(limit: int) -> Answer:
    return refuse(413, f"The request body is larger than {limit} bytes.", "request_too_large")


def translated(status: int, body: bytes, models: Callable[[], list[str]] = list) -> Answer | None:
    """VLLM's error as OpenAI's, or None for anything else, which is passed on unchanged. `models`
    are those that the key may use; they are named when the requested one does not exist.
    """
    try:
        error = json.loads(body)["error"]
        text, param, code = str(error["message"]), error.get("param"), error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        if status == 404:
            return refuse(404, "This replica's model does not serve this route.", "not_served")
        return None
    word = _code(status, text, param, code)
    if word == "model_not_found" and (names := models()):
        text = text.partition(" Valid aliases")[0]  # vLLM's own list is the same for every key
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        text += f" This key may use: {', '.join(names[:_LISTED])}{more}."
    return refuse(status, text, word, param=param if isinstance(param, str) else None)


def _code(status: int, text: str, param: object, code: object) -> str | None:
    """VLLM's code is the status as a number; OpenAI's code is a word."""
    if status == 404:
        return "model_not_found" if param == "model" or code == "model_not_found" else "not_found"
    if status == 400 and ("maximum context length" in text or code == "context_length_exceeded"):
        return "context_length_exceeded"
    return code if isinstance(code, str) else None
