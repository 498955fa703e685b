"""The daemon's own small web server: health for supervisors, metrics for Prometheus, the status as
JSON and as a page.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import jinja2
from aiohttp import web

from reconciler.web.metrics import Metrics

Status = Callable[[], dict[str, Any]]


class WebServer:
    """Serves on loopback unless told otherwise; it shows no secret and takes no order. An async
    context manager.
    """

    def __init__(
        self, host: str, port: int, status: Status, metrics: Metrics, leading: Callable[[], bool]
    ) -> None:
        self.host, self.port = host, port
        self.status, self.metrics, self.leading = status, metrics, leading
        page = resources.files("reconciler.web").joinpath("status.html").read_text()
        self._page = jinja2.Environment(autoescape=True).from_string(page)

    async def __aenter__(self) -> WebServer:  # noqa: PYI034 - one class, no subclasses
        app = web.Application()
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

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(text=self._page.render(status=self.status()), content_type="text/html")

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self.status())

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        """Ready means that this daemon may write: of several, only the leader."""
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
