"""The web server of the daemon: health for supervisors, metrics for Prometheus, and the status as
JSON and as a page.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import jinja2
from aiohttp import web

from reconciler.web.hosts import host_of, is_loopback
from reconciler.web.metrics import DaemonMetrics

Status = Callable[[], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN = ("/healthz", "/readyz")


class WebServer:
    """Shows no secret and accepts no command. Beyond loopback it shows the status only to requests
    with `token`. An async context manager.
    """

    def __init__(
        self,
        host: str,
        port: int,
        status: Status,
        metrics: DaemonMetrics,
        leading: Callable[[], bool],
        token: str | None = None,
    ) -> None:
        self.host, self.port, self.token = host, port, token
        self.status, self.metrics, self.leading = status, metrics, leading
        page = resources.files("reconciler.web").joinpath("status.html").read_text()
        self._page = jinja2.Environment(autoescape=True).from_string(page)

    async def __aenter__(self) -> WebServer:  # noqa: PYI034 - one class, no subclasses
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._show),
                web.get("/status", self._status),
                web.get("/healthz", self._healthy),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Health is open to everybody. Everything else needs the token, or a request on loopback
        that names this machine: a web page from elsewhere must not read it under another name that
        resolves to this machine.
        """
        if request.path not in OPEN and not self._allowed(request):
            text = (
                "This shows the status on loopback, or with the token in MOORAGE_WEB_TOKEN as"
                " Authorization: Bearer.\n"
            )
            return web.Response(text=text, status=401, headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    def _allowed(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if self.token and scheme.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode(), self.token.encode())
        return is_loopback(self.host) and is_loopback(host_of(request.headers.get("Host", "")))

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(text=self._page.render(status=self.status()), content_type="text/html")

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self.status())

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        """Ready means that this daemon may write. Of several daemons only the leader is ready."""
        return (
            web.Response(text="leading\n")
            if self.leading()
            else web.Response(text="not leading\n", status=503)
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self.metrics.render(self.status()),
            headers={"Content-Type": "text/plain; version=0.0.4"},
        )
