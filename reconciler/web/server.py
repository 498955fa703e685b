"""The web server of the daemon: health for supervisors, metrics for Prometheus, the status as JSON,
and the page.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from reconciler.web.git_hook import PATH as GIT
from reconciler.web.git_hook import GitHook
from reconciler.web.hosts import host_of, is_loopback
from reconciler.web.metrics import DaemonMetrics
from reconciler.web.pages import Pages
from reconciler.web.tokens import is_secret

Status = Callable[[], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN = ("/healthz", "/readyz")
COOKIE = "moorage-page"
LARGEST = 16 << 10  # bytes of a form

log = structlog.get_logger(__name__)


class WebServer:
    """Shows no secret. Beyond loopback it shows the status and the page only to requests with
    `token`. An async context manager.
    """

    def __init__(
        self,
        listening: socket.socket,
        status: Status,
        metrics: DaemonMetrics,
        leading: Callable[[], bool],
        pages: Pages,
        token: str | None = None,
        hook: GitHook | None = None,
    ) -> None:
        self.listening, self.token = listening, token or ""
        self.host, self.port = listening.getsockname()[:2]
        self.status, self.metrics, self.leading = status, metrics, leading
        self.pages, self.hook = pages, hook

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the page."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://{host if ':' not in host or '[' in host else f'[{host}]'}:{self.port}/"

    async def __aenter__(self) -> WebServer:  # noqa: PYI034 - one class, no subclasses
        app = web.Application(middlewares=[self._guard], client_max_size=LARGEST)
        app.add_routes(
            [
                web.get("/status", self._status),
                web.get("/healthz", self._healthy),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
                *self.pages.routes(),
            ]
        )
        if self.hook:
            app.router.add_post(GIT, self.hook.received)
        app.on_shutdown.append(self.pages.updates.close)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.SockSite(self._runner, self.listening).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Health is open to everybody. Everything else needs the token, or a request on loopback
        that names this machine: a web page from elsewhere must not read it under another name that
        resolves to this machine.
        """
        told = self.hook and (request.method, request.path) == ("POST", GIT)
        if told or request.path in OPEN:  # a message from a host of repositories has its own secret
            return await handler(request)
        if not self._allowed(request):
            text = (
                "This shows the status on loopback, or with the token in MOORAGE_WEB_TOKEN as"
                " Authorization: Bearer, or once as ?token= in a browser.\n"
            )
            return web.Response(text=text, status=401, headers={"WWW-Authenticate": "Bearer"})
        if request.method == "GET" and is_secret(request.query.get("token", ""), self.token):
            return self._remember(request)
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:  # one page costs neither the others nor the daemon
            log.exception("a page could not be made", path=request.path)
            text = (
                "This page could not be made. It is a fault of Moorage, and the daemon goes on.\n"
                "`moorage status` prints the same state; `moorage diagnose` writes a report.\n"
            )
            return web.Response(text=text, status=500)

    def _allowed(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if self.token and scheme.lower() == "bearer":
            return is_secret(given.strip(), self.token)
        if is_secret(request.cookies.get(COOKIE) or request.query.get("token", ""), self.token):
            return True
        return is_loopback(self.host) and is_loopback(host_of(request.headers.get("Host", "")))

    def _remember(self, request: web.Request) -> web.Response:
        """A browser sends no header of ours: it gets a cookie, and an address without the token."""
        answer = web.Response(status=303, headers={"Location": request.path})
        answer.set_cookie(COOKIE, self.token, httponly=True, samesite="Strict", path="/")
        return answer

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
