"""The scheduler's end of the ingress: starts the process when it is missing, pushes routes, keeps
the last reported load.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .addresses import short_address
from .launch import LaunchError, launch

_RETRY_S, _RETRY_CAP_S = 0.2, 10.0
_PORT_RETRY_S = 2.0
_MAX_LINE = 64 * 1024 * 1024
_logger = logging.getLogger(__name__)


class Edge:
    """`load` maps a revision to its {"in_flight", "waiting"}; `retiring` maps a replica without a
    route to its requests.
    """

    def __init__(
        self, state_dir: Path, tls: tuple[Path, Path], on_load: Callable[[], None]
    ) -> None:
        self.load: dict[str, dict[str, int]] = {}
        self.retiring: dict[str, int] = {}
        self.failed_ports: dict[str, str] = {}
        self._state_dir = state_dir
        self._tls = tls
        self._on_load = on_load
        self._routes: dict[str, Any] | None = None
        self._generation = self._applied = 0
        self._changed = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._launching: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_connected())

    async def stop(self, *, terminate: bool) -> None:
        """Disconnects; with `terminate` the ingress process ends too."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if terminate:
            if (
                self._launching is not None
            ):  # a process that is just starting must be ended, not forgotten
                await asyncio.wait([self._launching])
            with contextlib.suppress(OSError):
                reader, writer = await self._connect()
                writer.write(b'{"terminate": true}\n')
                async with asyncio.timeout(5):
                    await reader.read()
                writer.close()

    def push(self, routes: dict[str, Any]) -> None:
        """Makes `routes` the whole table; does nothing when it is that already."""
        if routes == self._routes:
            return
        self._routes = routes
        self._generation += 1
        self._send()

    async def settled(self, timeout_s: float) -> None:
        """Waits until the ingress has applied the last push, or for `timeout_s` when there is no
        ingress to ask.
        """
        wanted = self._generation
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._applied < wanted:
                    await self._changed.wait()

    async def drained(self, replica: str) -> None:
        """Waits until the ingress has no request left on a replica that it does not route to any
        more.
        """
        while self.retiring.get(replica, 0):
            await self._changed.wait()

    async def _keep_connected(self) -> None:
        delay = _RETRY_S
        while True:
            try:
                reader, self._writer = await self._connect()
                delay = _RETRY_S
                self._send()
                await self._receive(reader)
            except OSError:
                if not await self._start_process():
                    delay = min(delay * 2, _RETRY_CAP_S)
            finally:
                if self._writer is not None:
                    self._writer.close()
                self._writer = None
                self.load, self.retiring = {}, {}
                self._announce()
            await asyncio.sleep(delay)

    async def _start_process(self) -> bool:
        certificate, key = self._tls
        arguments = (
            "--state-dir",
            str(self._state_dir),
            "--certificate",
            str(certificate),
            "--key",
            str(key),
        )
        self._launching = asyncio.create_task(launch("infra.local_azure.ingress", *arguments))
        try:
            await asyncio.shield(self._launching)
        except LaunchError as error:
            _logger.warning(
                "the ingress did not start (see %s): %s", self._state_dir / "ingress.log", error
            )
            return False
        return True

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_address(self._state_dir / "ingress.sock") as address:
                connection.connect(address)
        except OSError:
            connection.close()
            raise
        return await asyncio.open_unix_connection(sock=connection, limit=_MAX_LINE)

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            self.load, self.retiring = message["load"], message["retiring"]
            self._on_load()
            if "applied" in message:
                self._applied = message["applied"]
                self.failed_ports = message["failed_ports"]
                if self.failed_ports:
                    asyncio.get_running_loop().call_later(_PORT_RETRY_S, self._send)
            self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _send(self) -> None:
        if self._writer is not None and self._routes is not None:
            message = {"routes": self._routes, "generation": self._generation}
            self._writer.write(json.dumps(message).encode() + b"\n")
