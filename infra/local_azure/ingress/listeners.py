"""One HTTPS listener per app on its own loopback port, opened and closed as the table says."""

import ssl
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from .proxy import Proxy
from .table import Table

_HOST = "127.0.0.1"


class Listeners:
    """The open ports. A port stays open while any app has it, so replacing the table never refuses a connection."""

    def __init__(self, table: Table, certificate: Path, key: Path) -> None:
        self._table = table
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._open: dict[int, web.ServerRunner] = {}

    async def follow(self) -> dict[int, str]:
        """Opens and closes ports after a change; returns the ports that could not be opened, with the reason."""
        for port in self._open.keys() - self._table.apps.keys():
            await _close(self._open.pop(port))
        failures = {}
        for port in self._table.apps.keys() - self._open.keys():
            try:
                self._open[port] = await self._listen(port)
            except OSError as error:
                failures[port] = error.strerror or str(error)
        return failures

    async def close(self) -> None:
        for runner in self._open.values():
            await _close(runner)

    async def _listen(self, port: int) -> web.ServerRunner:
        server = web.Server(
            Proxy(self._table, port).handle,
            access_log=None,
            handler_cancellation=True,  # a client that leaves ends its request upstream too
            auto_decompress=False,
            max_line_size=65536,
            max_field_size=65536,
        )
        runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, port, ssl_context=self._tls, reuse_address=True).start()
        except OSError:
            await runner.cleanup()
            raise
        return runner


async def _close(runner: web.ServerRunner) -> None:
    with suppress(OSError):
        await runner.cleanup()
