"""The asyncio end of a shim's control socket, for the scheduler (state, stop), the probes and the
ingress (sockets).
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .addresses import short_address

_BATCH = 4
_TIMEOUT_S = 5.0
_MAX_PACKET = 65536


class ShimGoneError(ConnectionError):
    """The shim does not listen, or ended while a request was under way."""


class ShimClient:
    """One connection to a shim. `on_state` gets every state the shim publishes, `on_gone` is called
    once when it ends.
    """

    def __init__(
        self,
        path: Path,
        on_state: Callable[[dict[str, Any]], None] | None = None,
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        self._path = path
        self._on_state = on_state
        self._on_gone = on_gone
        self._socket: socket.socket | None = None
        self._waiting: dict[int, asyncio.Future[tuple[Any, list[int]]]] = {}
        self._spare: list[socket.socket] = []
        self._last_id = 0

    async def connect(self) -> dict[str, Any]:
        """Connects and returns the shim's state. Raises ShimGoneError."""
        loop = asyncio.get_running_loop()
        self._socket = _connect(self._path)
        loop.add_reader(self._socket, self._read)
        try:
            state: dict[str, Any] = await self.request("watch" if self._on_state else "state")
        except ShimGoneError:
            self._disconnect()  # the next call connects anew
            raise
        return state

    async def request(self, op: str, **arguments: Any) -> Any:
        """Sends one order and returns its answer. Raises ShimGoneError, also when the shim does not
        answer within 5 s.
        """
        return (await self._ask(op, **arguments))[0]

    async def socket(self) -> socket.socket:
        """A fresh non-blocking TCP socket inside the replica's network namespace. Raises
        ShimGoneError.
        """
        while not self._spare:
            _, descriptors = await self._ask("sockets", count=_BATCH)
            self._spare += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        return self._spare.pop()

    def close(self) -> None:
        """Ends the connection quietly; `on_gone` is not called."""
        self._on_gone = None
        self._end()

    async def _ask(self, op: str, **arguments: Any) -> tuple[Any, list[int]]:
        if self._socket is None:
            raise ShimGoneError(f"no shim behind {self._path}")
        self._last_id = number = self._last_id + 1
        answer: asyncio.Future[tuple[Any, list[int]]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._socket.send(json.dumps({"id": number, "op": op, **arguments}).encode())
            async with asyncio.timeout(
                _TIMEOUT_S
            ):  # wait_for of Python 3.11 may swallow a cancellation
                return await answer
        except (OSError, TimeoutError) as error:
            raise ShimGoneError(f"the shim behind {self._path} does not answer") from error
        finally:
            self._waiting.pop(number, None)

    def _read(self) -> None:
        assert self._socket is not None
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._socket, _MAX_PACKET, _BATCH)
        except BlockingIOError:
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self._end()
            return
        message = json.loads(packet)
        if "event" in message:
            if self._on_state:
                self._on_state(message["state"])
            return
        answer = self._waiting.get(message["id"])
        if answer is not None and not answer.done():
            answer.set_result((message["result"], descriptors))
        else:
            for descriptor in descriptors:
                os.close(descriptor)

    def _end(self) -> None:
        if self._socket is None:
            return
        self._disconnect()
        if self._on_gone:
            self._on_gone()

    def _disconnect(self) -> None:
        if self._socket is None:
            return
        with suppress(RuntimeError):  # the loop may be closed already
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        for spare in self._spare:
            spare.close()
        self._spare.clear()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ShimGoneError(f"the shim behind {self._path} ended"))


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        with short_address(path) as address:
            connection.connect(address)
    except OSError as error:
        connection.close()
        raise ShimGoneError(f"no shim behind {path}") from error
    return connection
