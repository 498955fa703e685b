"""The limits of the HTTPS listener: connections, headers, half-sent requests, bodies.

It answers what is not HTTP as Windows' http.sys does in front of Azure's services: HTML, no code.
Used by `server`.
"""

import asyncio
import gc
import resource
import time
import weakref
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

MOST_CONNECTIONS = 1000  # each holds 0.3 MB, from before its TLS handshake on
MOST_HEADER = 16 * 1024
_PAGE = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN""http://www.w3.org/TR/html4/strict.dtd">\r\n'
    "<HTML><HEAD><TITLE>{title}</TITLE>\r\n"
    '<META HTTP-EQUIV="Content-Type" Content="text/html; charset=us-ascii"></HEAD>\r\n'
    "<BODY><h2>{heading}</h2>\r\n<hr><p>HTTP Error {status}. {text}</p>\r\n</BODY></HTML>\r\n"
)


class TooLarge(Exception):
    """A body beyond the plane's limit; nothing of it was kept."""


class TooSlow(Exception):
    """A body that did not come in time."""


class Listener(web.Server):
    """Drops connections beyond MOST_CONNECTIONS at once, and those that send no whole request
    within `idle_s`.
    """

    def __init__(self, handler: Any, *, idle_s: float) -> None:
        _raise_file_limit()
        super().__init__(
            handler,
            access_log=None,
            keepalive_timeout=idle_s,
            lingering_time=2.0,
            max_line_size=MOST_HEADER,
            max_field_size=MOST_HEADER,
            auto_decompress=False,
        )
        self._open: weakref.WeakSet[RequestHandler] = weakref.WeakSet()
        self._swept = 0.0

    def __call__(self) -> RequestHandler:
        """Called as a connection is accepted; raising drops it there and then."""
        if len(self._open) >= MOST_CONNECTIONS and time.monotonic() - self._swept > 1:
            # a connection without a handshake is a reference cycle, and no callback reports its end
            gc.collect()
            self._swept = time.monotonic()
        if len(self._open) >= MOST_CONNECTIONS:
            raise ConnectionRefusedError
        handler = _Handler(self, loop=self._loop, **self._kwargs)
        self._open.add(handler)
        return handler


class _Handler(RequestHandler):
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        self.keep_alive(False)
        if exc is not None and type(exc).__name__ in {"LineTooLong", "TooManyHeaders"}:
            return refusal(400, "Request Too Long", "The size of the request headers is too long.")
        return refusal(
            400,
            "Invalid Verb" if "method" in (message or "").lower() else "Bad Request",
            "The request is badly formed.",
        )


def refusal(status: int, kind: str, text: str) -> web.Response:
    """http.sys's page."""
    title = "Bad Request" if status == 400 else kind
    page = _PAGE.format(
        title=title,
        heading=f"Bad Request - {kind}" if status == 400 else kind,
        status=status,
        text=text,
    )
    return web.Response(
        status=status,
        text=page,
        content_type="text/html",
        charset="us-ascii",
        headers={"Connection": "close"},
    )


async def body(request: web.BaseRequest, most: int, idle_s: float) -> bytes:
    """The whole body, which may be `most` bytes long. Raises TooLarge before it is read further,
    TooSlow.
    """
    if not request.can_read_body:
        return b""
    if (request.content_length or 0) > most:
        raise TooLarge
    chunks, size = [], 0
    try:
        async with asyncio.timeout(idle_s):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > most:
                    raise TooLarge
                chunks.append(chunk)
    except TimeoutError:
        raise TooSlow from None
    return b"".join(chunks)


def is_clean(path: str) -> bool:
    """Whether a request's path is printable ASCII; what is not must come percent-encoded."""
    return path.startswith("/") and path.isascii() and path.isprintable()


def _raise_file_limit() -> None:
    """Room for the connections, the share's files and the replicas' sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 65536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
