"""Requests that come through a gateway: for whom it asks, and what it is told in the end. Pure.

Only a gateway's own key may say so; from everybody else these headers mean nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from serving.answers import Message
from serving.catalogue import EVALUATION_HEADER, GATEWAY_KEY, KEY_NAME_HEADER
from serving.keys import Header, Key
from serving.traffic import Call

_NAME = re.compile(r"[\w./:@+-]{1,200}", re.ASCII)


def asked_by(key: Key, headers: Iterable[Header]) -> tuple[str, bool]:
    """The key that the request is counted for, and whether it may ask for what evaluations need."""
    if key.name != GATEWAY_KEY:
        return key.name, key.evaluation
    given = dict(headers)
    name = given.get(KEY_NAME_HEADER.encode(), b"").decode("latin-1")
    evaluation = key.evaluation and given.get(EVALUATION_HEADER.encode()) == b"1"
    return name if _NAME.fullmatch(name) else key.name, evaluation


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
