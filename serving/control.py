"""The line between launch (PID 1) and the plugin inside vLLM: JSON lines over a socket pair, both
ways.

launch owns the share's report so that a share that hangs can never touch the process that serves;
what the replica knows travels here, and `drain` travels back.
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
        """Queue a message; lost without a word when the other end is gone, which `on_message(None)`
        tells.
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
    """The end that launch left for its child, or None where vLLM was started by something else."""
    number = os.environ.get(FD_VARIABLE, "")
    return socket.socket(fileno=int(number)) if number.isdigit() else None
