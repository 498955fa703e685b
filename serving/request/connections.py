"""Bounds what a connection of a replica sends besides bodies, and how long a head may take.
uvicorn's fast parser takes heads, trailers and chunk extensions of any length.

plugin.py puts it in the place of uvicorn's own protocol, before vLLM makes its server.
"""

from __future__ import annotations

import asyncio

from uvicorn import config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.request.framing import SECONDS, UNREADABLE, Framing

_HEADERS = (*UNREADABLE.headers, (b"content-type", b"application/json"), (b"connection", b"close"))


class BoundedProtocol(HttpToolsProtocol):  # type: ignore[misc]
    """uvicorn's protocol for one connection, with limits."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._framing, self._between = Framing(), True
        self._late = self._timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._between:
            self._between = False
            self._late.cancel()
            self._late = self._timer()
        self._framing.received += len(data)
        super().data_received(data)
        if self._framing.excessive and not self.transport.is_closing():
            self.send_400_response("")

    def on_headers_complete(self) -> None:
        self._late.cancel()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing.body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._framing, self._between = Framing(), True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Close the connection; with an answer, unless another one has begun."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            lines = [b"HTTP/1.1 400 Bad Request"]
            lines += [name + b": " + value for name, value in _HEADERS]
            lines.append(b"content-length: %d" % len(UNREADABLE.body))
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + UNREADABLE.body)
        self.transport.close()

    def _timer(self) -> asyncio.TimerHandle:
        timer: asyncio.TimerHandle = self.loop.call_later(SECONDS, self._expire)
        return timer

    def _expire(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # the head of a next request, while this one is answered
            self._late = self._timer()


def install() -> None:
    """Make it the protocol of every uvicorn server of this process."""
    config.HTTP_PROTOCOLS["auto"] = BoundedProtocol
