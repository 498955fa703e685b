"""The events of a response in the background, numbered in its own order. Pure."""

from __future__ import annotations

import json
from typing import Any

from serving.gateway.stored import StoredRequest

ENDED = ("completed", "failed", "incomplete", "cancelled")
_OWN = ("id", "background", "created_at", "model")  # what the service calls otherwise
OPENING = 2  # events before the service has made any


class EventWriter:
    """Puts the service's events into a response's own order, under its own id. `final` is the
    response that the last of them holds.
    """

    def __init__(self, stored: StoredRequest) -> None:
        self._own, self._number, self._rest = outline(stored, "queued"), 0, b""
        self.final: dict[str, Any] | None = None

    def opening(self) -> bytes:
        return b"".join(
            self._line({"type": kind, "response": self._own})
            for kind in ("response.created", "response.queued")
        )

    def take(self, chunk: bytes) -> bytes:
        """Lines of the events that are whole."""
        *blocks, self._rest = (self._rest + chunk).split(b"\n\n")
        return b"".join(self._event(block) for block in blocks)

    def _event(self, block: bytes) -> bytes:
        data = b"".join(
            line[5:].strip() for line in block.splitlines() if line.startswith(b"data:")
        )
        try:
            event = json.loads(data)
            kind = event["type"]
        except (ValueError, KeyError, TypeError):
            return b""  # a comment, or the end that chat streams have
        if kind == "response.created":
            return b""
        response = event.get("response")
        if isinstance(response, dict):
            response |= {name: self._own[name] for name in _OWN}
            if kind.removeprefix("response.") in ENDED:
                self.final = response
        return self._line(event)

    def _line(self, event: dict[str, Any]) -> bytes:
        event["sequence_number"], self._number = self._number, self._number + 1
        return json.dumps(event).encode() + b"\n"


def outline(stored: StoredRequest, status: str) -> dict[str, Any]:
    """A response in OpenAI's shape before the service has made it."""
    asked = stored.body
    return {
        "id": stored.id,
        "object": "response",
        "created_at": int(stored.created_at.timestamp()),
        "status": status,
        "background": True,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "metadata": asked.get("metadata") or {},
        "model": stored.model,
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "temperature": asked.get("temperature"),
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools") or [],
        "top_p": asked.get("top_p"),
        "usage": None,
    }
