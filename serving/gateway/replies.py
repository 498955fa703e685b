"""A gateway's own replies to callers: errors in OpenAI's shape, and the comments and events of a
stream that waits. Pure.
"""

from __future__ import annotations

import json
import math
from typing import Any

from serving.gateway.backend import UnavailableError
from serving.request.answers import Answer, refuse

_LONGEST_RETRY = 59  # OpenAI's clients ignore a longer Retry-After
_CODES = {"stopped": "service_stopped", "starting": "starting", "full": "too_many_waiting"}
RESPONSES = "/v1/responses"


def unavailable(error: UnavailableError) -> Answer:
    """503, with the headers that tell a client to retry if the service starts, and not to retry if
    it is stopped.
    """
    code = _CODES[error.kind]
    if error.kind == "stopped":
        return refuse(503, f"{error}.", code, (b"x-should-retry", b"false"))
    left = max(1, math.ceil(error.left))
    retry = (b"retry-after", str(min(left, _LONGEST_RETRY)).encode())
    text = f"{error}. It goes on starting: try again."
    return _with(refuse(503, text, code, retry), seconds_left=left)


def comment(text: str) -> bytes:
    """A line that every reader of server-sent events skips, and that keeps a connection in use."""
    return f": moorage {' '.join(text.split())}\n\n".encode()


def error_event(path: str, answer: Answer) -> bytes:
    """The end of a stream whose status was sent already."""
    error: dict[str, Any] = json.loads(answer.body)
    if path != RESPONSES:
        return f"data: {json.dumps(error)}\n\n".encode()
    inner = error["error"]
    event = {"type": "error", "sequence_number": 0, **error}
    event |= {name: inner.get(name) for name in ("code", "message", "param")}
    return f"event: error\ndata: {json.dumps(event)}\n\n".encode()


def foreign_error(status: int, body: bytes) -> Answer:
    """A service's error; what is none in OpenAI's shape is put into it."""
    try:
        if isinstance(json.loads(body)["error"], dict):
            return Answer(status, body)
    except (ValueError, KeyError, TypeError):
        pass
    return refuse(status, f"The service answered with status {status}.", "upstream_error")


def broken() -> Answer:
    text = "The service ended while it answered; ask again."
    return refuse(502, text, "answer_cut")


def _with(answer: Answer, **more: object) -> Answer:
    body = json.loads(answer.body)
    body["error"] |= more
    return Answer(answer.status, json.dumps(body).encode(), answer.headers)


def refusal_of(status: int, body: bytes) -> tuple[str, str]:
    """Code and message of a service's refusal."""
    try:
        error = json.loads(body)["error"]
        return str(error.get("code") or "upstream_error"), str(error["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "upstream_error", f"The service answered with status {status}."
