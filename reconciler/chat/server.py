"""Serves the page on this machine. The page may load nothing from, and send nothing to, another
server.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from reconciler.chat.page import CSS, THEME, Page
from reconciler.chat.pictures import LARGEST

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self'"
    " 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self';"
    " worker-src 'self' blob:; frame-ancestors 'none'"
)


COOKIE = "moorage-chat"


async def serve(page: Page, listening: socket.socket, token: str = "") -> None:
    """Answer requests on `listening` until a signal arrives. If there is a `token`, answer only
    requests with this token.
    """
    app = FastAPI(openapi_url=None)

    async def at_home(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        given = request.query_params.get("token") or request.cookies.get(COOKIE) or ""
        if token and not hmac.compare_digest(given.encode(), token.encode()):
            return Response("Open the address that `moorage chat` printed.", 401)
        if request.url.path.endswith("/upload") and not page.takes_images:
            return Response("The model takes no images.", 403)
        answer = await call_next(request)
        if token:
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    app.middleware("http")(at_home)
    host = listening.getsockname()[0]
    # A web page from elsewhere must not reach this page, and the key behind it, under a name that
    # resolves to this machine. Beyond loopback the token prevents this.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["*"] if token else ["localhost", host])
    built: Any = gr.mount_gradio_app(
        app,
        page.build(),
        path="/",
        theme=THEME,
        css=CSS,
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        # Far above what is sent: Gradio refuses silently, `data_url` in words.
        max_file_size=8 * LARGEST,
    )
    server = uvicorn.Server(uvicorn.Config(built, log_level="error", timeout_graceful_shutdown=2))
    await server.serve(sockets=[listening])
