"""What a gateway is told at the end of a stream that came through it: the tokens used. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable

from serving.request.answers import Message
from serving.request.keys import Header
from serving.request.traffic import Call


def with_usage(message: Message, call: Call) -> Message:
    """The last part of a stream with a comment of the tokens used, which a gateway counts."""
    used = {"prompt_tokens": call.prompt_tokens, "completion_tokens": call.completion_tokens}
    comment = f": moorage {json.dumps(used)}\n\n".encode()
    return {**message, "body": message.get("body", b"") + comment}


def is_stream(headers: Iterable[Header]) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in headers
    )
