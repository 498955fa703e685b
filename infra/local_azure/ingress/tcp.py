"""TCP ingress: bytes pass between a client and one replica, chosen when the connection begins. Used
by `listeners`.
"""

import asyncio
import socket
from contextlib import suppress

from .table import Revision, Table
from .upstream import Upstream

_CHUNK = 65536


async def splice(table: Table, port: int, client: socket.socket) -> None:
    """Serves one connection to its end, and closes it. A revision that scaled to zero gets time to
    start.
    """
    app = table.apps.get(port)
    revision = app.choose("") if app else None
    if revision is None:
        client.close()
        return
    revision.in_flight += 1
    try:
        upstream = await _pick(table, revision)
        upstream.begin()
        try:
            inside = await upstream.socket()
            await _pump(client, inside)
        finally:
            upstream.end()
    except (OSError, TimeoutError):
        client.close()
    finally:
        revision.in_flight -= 1


async def hand_on(client: socket.socket, port: int) -> None:
    """Connects one client to what listens on `port` of this machine."""
    beyond = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(beyond, ("127.0.0.1", port))
    except OSError:
        beyond.close()
        client.close()
        return
    await _pump(client, beyond)


async def _pick(table: Table, revision: Revision) -> Upstream:
    """The replica that serves least. Raises TimeoutError when none comes, OSError when none is to
    come.
    """
    async with asyncio.timeout(table.timeout_s):
        revision.waiting += 1
        try:
            while not revision.replicas:
                if not revision.hold:
                    raise ConnectionRefusedError("no replica is ready")
                await table.wait_for_change()
        finally:
            revision.waiting -= 1
    return min(revision.replicas, key=lambda replica: replica.in_flight)


async def _pump(client: socket.socket, inside: socket.socket) -> None:
    outer = await asyncio.open_connection(sock=client)
    inner = await asyncio.open_connection(sock=inside)
    try:
        await asyncio.gather(_copy(outer[0], inner[1]), _copy(inner[0], outer[1]))
    finally:
        for _, writer in (outer, inner):
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()
