"""How a replica reaches the apps, and this Azure: on the same ports of its own loopback as clients
use outside.

A replica has a network of its own with nothing in it. Its shim makes a socket in there, and the
ingress listens on that socket: what connects to it has reached the app, with nothing in between.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .table import Table
from .upstream import Upstream

MOST = 512  # sockets, of all replicas together; with more of them no replica reaches an app
_BACKLOG = 128
_AGAIN_S = 1.0  # before a way that could not be opened is tried again
Greet = Callable[[int, socket.socket], Awaitable[None]]


class WaysOut:
    """`greet` takes each connection, with the port of the app that it asks for."""

    def __init__(self, table: Table, greet: Greet) -> None:
        self._table, self._greet = table, greet
        self._open: dict[tuple[Upstream, int], asyncio.Task[None]] = {}
        self._greetings: set[asyncio.Future[None]] = set()

    def follow(self) -> None:
        """Opens and closes sockets after a change of the table."""
        wanted = {
            (replica, port)
            for replica in self._table.replicas()
            for port in {*self._table.apps, *filter(None, (self._table.azure,))}
            if not replica.gone
        }
        if len(wanted) > MOST:
            wanted = set()
        for way in self._open.keys() - wanted:
            self._open.pop(way).cancel()
        for way in wanted - self._open.keys():
            self._open[way] = asyncio.create_task(self._listen(*way))

    async def close(self) -> None:
        tasks = list(self._open.values())
        self._open.clear()
        for task in (*tasks, *self._greetings):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, replica: Upstream, port: int) -> None:
        """Until cancelled, because nothing else opens a way that could not be opened: a busy shim
        did not answer in time, or the container itself listens there.
        """
        while not replica.gone:
            with suppress(OSError), await replica.bare_socket() as inside:
                # Connections of the container before its restart may still hold the port.
                inside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                inside.bind(("127.0.0.1", port))
                inside.listen(_BACKLOG)
                await self._accept(inside, port)
            await asyncio.sleep(_AGAIN_S)

    async def _accept(self, inside: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(inside)
            except OSError:  # no descriptors left: wait until some are free
                await asyncio.sleep(0.1)
                continue
            greeting = asyncio.ensure_future(self._greet(port, connection))
            self._greetings.add(greeting)
            greeting.add_done_callback(self._greetings.discard)
