"""One ready replica as the ingress sees it: its connection pool and the number of requests it is
serving.
"""

import asyncio
import hashlib
import socket
from pathlib import Path

import aiohttp

from infra.local_azure.runtime.connector import ReplicaConnector, open_socket
from infra.local_azure.runtime.shim_client import ShimClient

_CONNECT_S = 10.0


class Upstream:
    """A replica's shim and pool. `affinity` is its value in the sticky cookie.

    Retired (no longer routed) it lives until its last request is done.
    """

    def __init__(self, name: str, shim_socket: Path, port: int) -> None:
        self.name = name
        self.affinity = hashlib.sha256(name.encode()).hexdigest()[:16]
        self.in_flight = 0
        self.gone = False
        self._port = port
        self._shim = ShimClient(shim_socket, on_gone=self._lost)
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._retired = self._reached = False

    async def session(self) -> aiohttp.ClientSession:
        """The pool; the first call connects to the shim. Raises OSError when the replica
        has gone.
        """
        if self._session is None:
            async with self._opening:
                if self._session is None:
                    await self._reach()
                    self._session = aiohttp.ClientSession(
                        connector=ReplicaConnector(self._shim, self._port),
                        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                        auto_decompress=False,
                        cookie_jar=aiohttp.DummyCookieJar(),
                        max_line_size=65536,
                        max_field_size=65536,
                    )
        return self._session

    async def bare_socket(self) -> socket.socket:
        """A socket inside the replica's network, not connected to anything. Raises OSError."""
        async with self._opening:
            await self._reach()
        return await self._shim.socket()

    async def socket(self) -> socket.socket:
        """A connection of its own, for bytes that are not HTTP. Raises OSError."""
        await self.session()  # which connects to the shim
        return await open_socket(self._shim, self._port)

    async def _reach(self) -> None:
        """Connects to the shim, once."""
        if not self._reached:
            await self._shim.connect()
            self._reached = True

    def begin(self) -> None:
        self.in_flight += 1

    def end(self) -> None:
        self.in_flight -= 1
        if self._retired and self.in_flight == 0:
            self._dispose()

    def retire(self) -> None:
        """Called when no route names this replica any more."""
        self._retired = True
        if self.in_flight == 0:
            self._dispose()

    def _lost(self) -> None:
        self.gone = True

    def _dispose(self) -> None:
        self.gone = True
        self._shim.close()
        if self._session is not None:
            closing = asyncio.ensure_future(self._session.close())
            closing.add_done_callback(lambda done: done.exception())
            self._session = None
