"""Callers' connections. An invalid HTTP request is answered in OpenAI's shape and not logged:
anybody could fill the log, and the invalid line may be the one with the key.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from serving.answers import refuse
from serving.gateway.passage import reply

_UNREADABLE = refuse(400, "The request is no valid HTTP/1.1 request.", "invalid_request")


class Listener(web.Server):
    """The low-level server of aiohttp with connections of our own."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != HTTPStatus.BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        response = reply(_UNREADABLE, [("server", "moorage")])
        response.force_close()
        return response
