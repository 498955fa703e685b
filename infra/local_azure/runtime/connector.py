"""Lets aiohttp reach a replica: connections are made on sockets that the replica's shim created
inside its network namespace.
"""

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from .shim_client import ShimClient

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest

# Shorter than any common server's keep-alive (uvicorn: 5 s), so that a pooled connection is never
# used as the server closes it.
_KEEP_ALIVE_S = 2.0


class ReplicaConnector(aiohttp.BaseConnector):
    """Whatever host a URL names, connects to 127.0.0.1:`port` of one replica. Failing to connect is
    ClientConnectorError.
    """

    def __init__(self, shim: ShimClient, port: int) -> None:
        super().__init__(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
        self._shim = shim
        self._port = port

    async def _create_connection(  # aiohttp's own hook, as its UnixConnector uses it
        self,
        req: "ClientRequest",
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,
    ) -> ResponseHandler:
        try:
            async with asyncio.timeout(timeout.sock_connect):
                inside = await open_socket(self._shim, self._port)
                _, protocol = await self._loop.create_connection(self._factory, sock=inside)
        except OSError as error:  # TimeoutError is one: in every case nothing was delivered yet
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol


async def open_socket(shim: ShimClient, port: int) -> socket.socket:
    """A socket connected to 127.0.0.1:`port` inside the replica. Raises OSError."""
    inside = await shim.socket()
    try:
        await asyncio.get_running_loop().sock_connect(inside, ("127.0.0.1", port))
    except BaseException:
        inside.close()
        raise
    return inside
