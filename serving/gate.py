"""The ASGI gate in front of vLLM: denies every route but OpenAI's, checks API keys and limits,
refuses when draining.

vLLM's own key leaves admin routes open, so here everything is closed unless listed. The gate is the
outermost middleware (launch names it in `--middleware`); replica.py gives it its Door, without
which nothing passes. routes.py and cors.py hold its rules; exchange.py handles what passes.
"""

from __future__ import annotations

import json

from serving.exchange import App, Door, Exchange, Receive, Scope
from serving.request import cors
from serving.request.answers import Answer, Message, Send, refuse
from serving.request.bodies import CLOSE, Incoming, answer_and_drop
from serving.request.keys import Header
from serving.request.routes import (
    ADMIN,
    EVALUATION,
    METRICS,
    allowed_method,
    is_probe,
    refuse_route,
    translate,
    unknown,
)


class Gate:
    """Pure ASGI middleware; the Door is looked up on the application's state as `moorage`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "not served here"})

    async def _http(self, scope: Scope, stream: Receive, send: Send) -> None:
        receive = Incoming(stream)
        door: Door | None = getattr(scope["app"].state, "moorage", None)
        # Probes first: they carry no key, and are answered before the engine is there.
        if is_probe(scope):
            await _probe(scope, door)(send)
            return
        deployment = translate(scope)
        if door is not None:
            allowed = cors.preflight(door.cors, scope["headers"], allowed_method(scope))
            if scope["method"] == "OPTIONS" and allowed is not None:
                await allowed(send)
                return
            send = _with_headers(cors.added(door.cors, scope["headers"]), send)
        refusal = refuse_route(scope)
        if refusal is None and scope["path"] in ADMIN:
            await self._admin(door, scope, receive, send)
            return
        # Routes and the replica's state are judged before the key: they are the same for every
        # client.
        refusal = refusal or _closed(door)
        if refusal is not None or door is None:
            await answer_and_drop(refusal or _UNAUTHORIZED, scope, receive, send)
            return
        key = door.keys.find(scope["headers"])
        if key is None or key.admin or (scope["path"] in EVALUATION and not key.evaluation):
            refusal = unknown(scope) if key and not key.admin else _UNAUTHORIZED
            await answer_and_drop(refusal, scope, receive, send)
            return
        door.running += 1  # a drain waits for every call that was counted here
        try:
            await Exchange(self._app, door, key, scope, deployment).run(receive, send)
        finally:
            door.running -= 1
            if door.draining and door.running == 0:
                door.on_idle()

    async def _admin(self, door: Door | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Metrics and state, for an admin key, also while the replica drains. Without such a key
        these routes answer 404.
        """
        key = door.keys.find(scope["headers"]) if door is not None else None
        if door is None or key is None or not key.admin:
            await unknown(scope)(send)
        elif scope["path"] == METRICS:
            await self._app(scope, receive, send)
        else:
            await Answer(200, json.dumps(door.state(), indent=1).encode())(send)


_UNAUTHORIZED = refuse(
    401, "Incorrect or missing API key.", "invalid_api_key", (b"www-authenticate", b"Bearer")
)


def _probe(scope: Scope, door: Door | None) -> Answer:
    if scope["path"] == "/live":
        good, reason = (True, "starting") if door is None else (door.alive(), "the engine is dead")
    else:
        good, reason = (False, "starting") if door is None else door.ready()
    body = json.dumps({"ok": good, "reason": "" if good else reason}).encode()
    return Answer(200 if good else 503, body)


def _closed(door: Door | None) -> Answer | None:
    retry = (b"retry-after", b"1")
    if door is None or not door.open:
        return refuse(503, "This replica is starting; try again shortly.", "starting", retry)
    # With `Connection: close`, so that the client's next try reaches another replica.
    if door.draining:
        return refuse(
            503,
            "This replica is shutting down; try again.",
            "draining",
            retry,
            CLOSE,
        )
    if not door.alive():
        return refuse(
            503,
            "This replica's engine has stopped; try again.",
            "engine_dead",
            retry,
            CLOSE,
        )
    return None


def _with_headers(added: list[Header], send: Send) -> Send:
    if not added:
        return send

    async def outgoing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *added]
        await send(message)

    return outgoing


__all__ = ["Door", "Gate"]
