"""The ingress's control socket (JSON lines): the scheduler pushes the whole table, the ingress
reports its load.

`{"routes": {...}, "generation": n}` is answered with `{"applied": n, "failed_ports": {...}}`;
`{"terminate": true}` ends the process. Every answer carries `"load": {revision: {"in_flight",
"waiting"}}` and `"retiring": {replica: requests}`, which also come unasked in every half second in
which they changed, at once for a revision's first request.
"""

import asyncio
import json
import socket
from typing import Any

from .listeners import Listeners
from .table import Table

_REPORT_S = 0.5
_LOOK_S = 0.05
_MAX_LINE = 64 * 1024 * 1024


class IngressControl:
    """Serves any number of connections; the last table pushed is the one in force."""

    def __init__(self, table: Table, listeners: Listeners) -> None:
        self._table = table
        self._listeners = listeners
        self._applying = asyncio.Lock()
        self._peers: set[_Peer] = set()
        self.terminated = asyncio.Event()

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        return await asyncio.start_unix_server(self._connection, sock=listener, limit=_MAX_LINE)

    def close(self) -> None:
        for peer in self._peers:
            peer.writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _Peer(writer)
        self._peers.add(peer)
        reporting = asyncio.create_task(self._report(peer))
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if message.get("terminate"):
                    self.terminated.set()
                else:
                    await self._apply(message, peer)
        except ConnectionError:
            pass
        finally:
            reporting.cancel()
            self._peers.discard(peer)
            writer.close()

    async def _apply(self, message: dict[str, Any], peer: "_Peer") -> None:
        async with self._applying:
            self._table.replace(message["routes"])
            failures = await self._listeners.follow()
        peer.send({"applied": message["generation"], "failed_ports": failures}, self._load())

    async def _report(self, peer: "_Peer") -> None:
        """Sends the load when it changed; a revision's first request is reported without the
        half-second's wait.
        """
        quiet = 0.0
        while True:
            load = self._load()
            first = any(name not in peer.known["load"] for name in load["load"])
            if first or (load != peer.known and quiet >= _REPORT_S):
                peer.send({}, load)
                quiet = 0.0
            await asyncio.sleep(_LOOK_S)
            quiet += _LOOK_S

    def _load(self) -> dict[str, Any]:
        return {"load": self._table.load(), "retiring": self._table.retiring()}


class _Peer:
    """A connected scheduler, and the load that was last sent to it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.known: dict[str, Any] = {"load": {}, "retiring": {}}

    def send(self, message: dict[str, Any], load: dict[str, Any]) -> None:
        self.known = load
        self.writer.write(json.dumps(message | load).encode() + b"\n")
