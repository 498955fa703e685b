"""Callers' connections. An invalid HTTP request is answered in OpenAI's shape and not logged:
anybody could fill the log, and the invalid line may be the one with the key.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from serving.gateway.passage import reply
from serving.request.framing import SECONDS, UNREADABLE, Framing


class Listener(web.Server):
    """The low-level server of aiohttp with connections of our own."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """aiohttp's connection, which bounds heads itself, with limits for what may come besides."""

    _late: asyncio.TimerHandle | None = None
    _payload: StreamReader = EMPTY_PAYLOAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._framing = Framing()
        self._wait()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._waited()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        heads, idle = self._request_count, self._current_request is None and not self._messages
        if idle and self._late is None:
            self._wait()
        self._framing.received += len(data)
        super().data_received(data)
        if self._request_count > heads:
            self._waited()
            self._framing, self._payload = Framing(), self._messages[-1][1]
        self._framing.body = self._payload.total_bytes
        if self._framing.excessive:
            self.force_close()

    def _wait(self) -> None:
        self._late = asyncio.get_running_loop().call_later(SECONDS, self.force_close)

    def _waited(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != HTTPStatus.BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        response = reply(UNREADABLE, [("server", "moorage")])
        response.force_close()
        return response
