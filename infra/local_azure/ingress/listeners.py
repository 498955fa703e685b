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
        self._open: dict[int, tuple[str, web.ServerRunner]] = {}

    async def follow(self) -> dict[int, str]:
        """Opens and closes ports after a change; returns the ports that could not be opened, with the reason."""
        wanted = {app.port: app.name for app in self._table.apps.values()}
        for port, (name, runner) in list(self._open.items()):
            if wanted.get(port) != name:
                del self._open[port]
                await _close(runner)
        failures = {}
        for port, name in wanted.items():
            if port not in self._open:
                try:
                    self._open[port] = (name, await self._listen(name, port))
                except OSError as error:
                    failures[port] = error.strerror or str(error)
        return failures

    async def close(self) -> None:
        for _, runner in self._open.values():
            await _close(runner)

    async def _listen(self, name: str, port: int) -> web.ServerRunner:
        server = web.Server(
            Proxy(self._table, name).handle,
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
