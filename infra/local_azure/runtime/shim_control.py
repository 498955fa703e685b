"""The shim's control socket: SOCK_SEQPACKET, one JSON object per packet, answers carry the
request's id.

`{"op": "sockets", "count": n}` is answered with n unconnected TCP sockets made inside the replica's
network namespace (SCM_RIGHTS), so that the ingress and the probes connect to 127.0.0.1:port in
there with nothing in between.
"""

import json
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

MAX_SOCKETS = 32
_MAX_PACKET = 65536


class ShimControl:
    """Listens on `path`; hands requests to `handle` and pushes `{"event": ...}` packets to
    everybody who asked to watch.
    """

    def __init__(
        self,
        path: Path,
        selector: selectors.BaseSelector,
        handle: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        self._selector = selector
        self._handle = handle
        self._watchers: set[socket.socket] = set()
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._listener.bind(str(path))
        self._listener.listen(64)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def publish(self, state: dict[str, Any]) -> None:
        for watcher in list(self._watchers):
            self._send(watcher, {"event": "state", "state": state})

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            client, _ = self._listener.accept()
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ, lambda: self._receive(client))

    def _receive(self, client: socket.socket) -> None:
        try:
            packet = client.recv(_MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._drop(client)
            return
        request = json.loads(packet)
        if request["op"] == "sockets":
            self._hand_out(client, request)
            return
        if request["op"] == "watch":
            self._watchers.add(client)
        self._send(client, {"id": request["id"], "result": self._handle(request)})

    def _hand_out(self, client: socket.socket, request: dict[str, Any]) -> None:
        count = min(request["count"], MAX_SOCKETS)
        sockets = [
            socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            for _ in range(count)
        ]
        try:
            self._send(client, {"id": request["id"], "result": count}, sockets)
        finally:
            for handed in sockets:
                handed.close()

    def _send(
        self,
        client: socket.socket,
        message: dict[str, Any],
        sockets: list[socket.socket] | None = None,
    ) -> None:
        try:
            socket.send_fds(
                client,
                [json.dumps(message).encode()],
                [handed.fileno() for handed in sockets or []],
            )
        # Gone, or so slow that its buffer is full: it sees the connection end and connects again.
        except OSError:
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        self._watchers.discard(client)
        with suppress(KeyError, ValueError):
            self._selector.unregister(client)
        client.close()
