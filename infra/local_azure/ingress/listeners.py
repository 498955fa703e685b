"""One listener per app on its own loopback port, opened and closed as the table says. It takes TLS
and plain HTTP alike.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from .proxy import Proxy
from .table import Table
from .tcp import hand_on, splice
from .ways_out import WaysOut

_HOST, _BACKLOG = "127.0.0.1", 512
_GREETING_S = 60.0
_TLS_HANDSHAKE = b"\x16"  # the first byte of every TLS connection, and of no HTTP request


class Listeners:
    """The open ports. A port stays open while any app has it, so replacing the table never refuses
    a connection.
    """

    def __init__(self, table: Table, certificate: Path, key: Path) -> None:
        self._table = table
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._open: dict[int, _Listener] = {}
        self._ways_out = WaysOut(table, self._greet)

    async def follow(self) -> dict[int, str]:
        """Opens and closes ports after a change; returns the ports that could not be opened, with
        the reason.
        """
        for port in self._open.keys() - self._table.apps.keys():
            await self._open.pop(port).close()
        failures = {}
        for port in self._table.apps.keys() - self._open.keys():
            try:
                self._open[port] = _Listener(self._table, port, self._tls)
            except OSError as error:
                failures[port] = error.strerror or str(error)
        self._ways_out.follow()
        return failures

    async def _greet(self, port: int, connection: socket.socket) -> None:
        """Passes a connection from a replica to the app that has the port, or to this Azure."""
        connection.setblocking(False)
        if listener := self._open.get(port):
            await listener.greet(connection)
        elif port == self._table.azure:
            await hand_on(connection, port)
        else:
            connection.close()

    async def close(self) -> None:
        await self._ways_out.close()
        for listener in self._open.values():
            await listener.close()


class _Listener:
    """One port. Raises OSError when it cannot be had."""

    def __init__(self, table: Table, port: int, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._table, self._port = table, port
        self._socket = socket.create_server((_HOST, port), backlog=_BACKLOG)
        self._socket.setblocking(False)
        self._server = web.Server(
            Proxy(table, port).handle,
            access_log=None,
            handler_cancellation=True,  # a client that leaves ends its request upstream too
            auto_decompress=False,
            max_line_size=65536,
            max_field_size=65536,
        )
        self._greetings: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    async def close(self) -> None:
        self._accepting.cancel()
        await asyncio.wait([self._accepting])
        for greeting in self._greetings:
            greeting.cancel()
        self._socket.close()
        self._server.pre_shutdown()
        await self._server.shutdown(0.5)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._socket)
            except OSError:  # no descriptors left: wait until some are free
                await asyncio.sleep(0.1)
                continue
            greeting = asyncio.create_task(self.greet(connection))
            self._greetings.add(greeting)
            greeting.add_done_callback(self._greetings.discard)

    async def greet(self, connection: socket.socket) -> None:
        """Peeks at the first byte and passes the connection to the TLS or the plain listener."""
        app = self._table.apps.get(self._port)
        if app is not None and app.tcp:
            await splice(self._table, self._port, connection)
            return
        try:
            async with asyncio.timeout(_GREETING_S):
                first = await _peek(connection)
            tls = self._tls if first == _TLS_HANDSHAKE else None
            with suppress(OSError):  # ssl.SSLError is one: the client does not trust us, or left
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._server, connection, ssl=tls
                )
        except (OSError, TimeoutError):
            connection.close()


async def _peek(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)
