"""The connection between launch (PID 1) and the plugin inside vLLM: JSON lines over a socket pair,
in both directions. launch writes the report to the share, so that a share that hangs cannot stop
the process that serves. The plugin sends the replica's state; launch sends `drain`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from typing import Any

FD_VARIABLE = "MOORAGE_CONTROL_FD"
_LIMIT = 16 << 20


class Control:
    """One end. `on_message` is called in the event loop for each message; None means that the other
    end is gone.
    """

    def __init__(
        self, end: socket.socket, on_message: Callable[[dict[str, Any] | None], None]
    ) -> None:
        self._end, self._on_message = end, on_message
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=self._end, limit=_LIMIT)
        self._task = asyncio.create_task(self._read(reader), name="control")

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message. The message is lost if the other end is gone, which `on_message(None)`
        reports.
        """
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._on_message(json.loads(line))
        except (OSError, ValueError):
            pass
        self._on_message(None)


def inherited_end() -> socket.socket | None:
    """The end that launch passed to its child; None if launch did not start vLLM."""
    number = os.environ.get(FD_VARIABLE, "")
    return socket.socket(fileno=int(number)) if number.isdigit() else None
