"""Serves the page on this machine: nothing in it may come from, or go to, anywhere else."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from reconciler.chat.page import CSS, THEME, Page

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self'"
    " 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self';"
    " worker-src 'self' blob:; frame-ancestors 'none'"
)


async def serve(page: Page, listening: socket.socket) -> None:
    """Answer requests on `listening` until a signal ends it."""
    app = FastAPI(openapi_url=None)

    async def at_home(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        answer = await call_next(request)
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    app.middleware("http")(at_home)
    host = listening.getsockname()[0]
    # A page elsewhere must not reach this one, and the key behind it, under a name that resolves to
    # this machine.
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=["localhost", host] if host != "0.0.0.0" else ["*"]
    )
    built: Any = gr.mount_gradio_app(
        app,
        page.build(),
        path="/",
        theme=THEME,
        css=CSS,
        footer_links=[],
        ssr_mode=False,
        pwa=False,
    )
    server = uvicorn.Server(uvicorn.Config(built, log_level="error", timeout_graceful_shutdown=2))
    await server.serve(sockets=[listening])
