"""The ingress's control socket (JSON lines): the scheduler pushes the whole table, the ingress reports its load.

`{"routes": {...}, "generation": n}` is answered with `{"applied": n, "failed_ports": {...}, "retiring": {...}}`; `{"terminate": true}`
ends the process. `{"load": {revision: {"in_flight", "waiting"}}, "retiring": {replica: n}}` comes at every half second in which
something changed, at once for a revision's first request.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any

from .listeners import Listeners
from .table import Table

_REPORT_S = 0.5
_LOOK_S = 0.05
_MAX_LINE = 64 * 1024 * 1024


class Control:
    """Serves any number of connections; the last table pushed is the one in force."""

    def __init__(self, table: Table, listeners: Listeners) -> None:
        self._table = table
        self._listeners = listeners
        self._applying = asyncio.Lock()
        self.terminated = asyncio.Event()

    async def serve(self, listener: Any) -> asyncio.Server:
        return await asyncio.start_unix_server(self._connection, sock=listener, limit=_MAX_LINE)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reporting = asyncio.create_task(self._report(writer))
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if message.get("terminate"):
                    self.terminated.set()
                else:
                    await self._apply(message, writer)
        except ConnectionError:
            pass
        finally:
            reporting.cancel()
            writer.close()

    async def _apply(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        async with self._applying:
            self._table.replace(message["routes"])
            failures = await self._listeners.follow()
        applied = {"applied": message["generation"], "failed_ports": failures, "retiring": self._table.retiring()}
        _write(writer, applied)

    async def _report(self, writer: asyncio.StreamWriter) -> None:
        """Sends the load when it changed; a revision's first request is reported without the half-second's wait."""
        sent: dict[str, Any] = {"load": {}, "retiring": {}}
        quiet = 0.0
        with suppress(ConnectionError):
            while True:
                load: dict[str, Any] = {"load": self._table.load(), "retiring": self._table.retiring()}
                first = any(name not in sent["load"] for name in load["load"])
                if first or (load != sent and quiet >= _REPORT_S):
                    _write(writer, load)
                    await writer.drain()
                    sent, quiet = load, 0.0
                await asyncio.sleep(_LOOK_S)
                quiet += _LOOK_S


def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
