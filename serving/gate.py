"""The ASGI gate in front of vLLM: denies every route but OpenAI's, checks API keys, counts requests, refuses when draining.

vLLM's own key leaves admin routes open, so here everything is closed unless listed. The gate is the outermost
middleware (launch names it in `--middleware`); replica.py gives it its Door, without which nothing passes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ROUTES: dict[str, str] = {
    "/v1/models": "GET",
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/responses": "POST",
}
PROBES = ("/ready", "/live")
VERSION_HEADER = b"x-moorage-adapter-version"
_ONE_MODEL = re.compile(r"/v1/models/(?!.*\.\.)[\w.:@+/-]+", re.ASCII)
_TYPES = {401: "invalid_request_error", 404: "invalid_request_error", 405: "invalid_request_error", 413: "invalid_request_error"}


class Pinned(Protocol):
    """A version that a request runs on: it is not unloaded while `pins` is above zero."""

    digest: str
    pins: int


@dataclass(slots=True)
class Call:
    """One request on its way through vLLM; the engine notes here which adapter version it chose."""

    key: str
    version: Pinned | None = None

    def pin(self, version: Pinned) -> None:
        if self.version is None:
            self.version = version
            version.pins += 1

    def release(self) -> None:
        if self.version is not None:
            self.version.pins -= 1


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)


@dataclass
class Door:
    """What the gate must know: keys as (name, SHA-256 in hex), whether it is ready and if not why, whether the engine lives."""

    ready: Callable[[], tuple[bool, str]]
    alive: Callable[[], bool]
    max_body: int = 16 << 20
    keys: tuple[tuple[str, bytes], ...] = ()
    open: bool = False
    draining: bool = False
    running: int = 0
    on_idle: Callable[[], None] = field(default=lambda: None)

    def key_name(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The name of the key in `Authorization: Bearer`, or None. Every key is compared, in constant time."""
        given = [value for name, value in headers if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        digest = hashlib.sha256(token.strip()).hexdigest().encode()
        found = [name for name, known in self.keys if hmac.compare_digest(digest, known)]
        return found[0] if found and scheme.lower() == b"bearer" else None


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

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        door: Door | None = getattr(scope["app"].state, "moorage", None)
        refusal = _probe(scope, door) or _route(scope) or _closed(door)
        if refusal is None and door is not None:
            name = door.key_name(scope["headers"])
            refusal = _UNAUTHORIZED if name is None else _too_large(scope, door.max_body)
            if refusal is None and name is not None:
                await self._pass(door, Call(name), scope, receive, send)
                return
        if refusal is not None:
            await refusal(send)

    async def _pass(self, door: Door, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and not any(name == b"content-length" for name, _ in scope["headers"]):
            body = await _read(receive, door.max_body)
            if body is None:
                await _body_limit(door.max_body)(send)
                return
            receive = _replay(body, receive)
        door.running += 1
        token = current_call.set(call)
        try:
            await self._app(scope, receive, _outgoing(call, send))
        finally:
            current_call.reset(token)
            call.release()
            door.running -= 1
            if door.draining and door.running == 0:
                door.on_idle()


@dataclass(frozen=True)
class Answer:
    """A complete JSON answer of the gate's own."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, send: Send) -> None:
        length = str(len(self.body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def refuse(status: int, message: str, code: str | None, *headers: tuple[bytes, bytes]) -> Answer:
    """An error in OpenAI's shape, which every OpenAI client turns into its own exceptions."""
    error = {"message": message, "type": _TYPES.get(status, "server_error"), "param": None, "code": code}
    return Answer(status, json.dumps({"error": error}).encode(), headers)


_UNAUTHORIZED = refuse(401, "Incorrect or missing API key.", "invalid_api_key", (b"www-authenticate", b"Bearer"))


def _probe(scope: Scope, door: Door | None) -> Answer | None:
    if scope["path"] not in PROBES or scope["method"] not in {"GET", "HEAD"} or not _literal(scope):
        return None
    if scope["path"] == "/live":
        good, reason = (True, "starting") if door is None else (door.alive(), "the engine is dead")
    else:
        good, reason = (False, "starting") if door is None else door.ready()
    return Answer(200 if good else 503, json.dumps({"ok": good, "reason": "" if good else reason}).encode())


def _route(scope: Scope) -> Answer | None:
    """Exact text only: no encoding, no second slash, no other case, no prefix can name a listed route differently."""
    path, method = scope["path"], scope["method"]
    allowed = "GET" if _ONE_MODEL.fullmatch(path) else ROUTES.get(path) if _literal(scope) else None
    if allowed is None or scope.get("root_path"):
        return refuse(404, f"Invalid URL ({method} {path[:200]})", "unknown_url")
    if method != allowed:
        return refuse(405, f"Not allowed to {method} on {path}", "method_not_allowed", (b"allow", allowed.encode()))
    return None


def _literal(scope: Scope) -> bool:
    raw = scope.get("raw_path")
    return raw is None or raw == scope["path"].encode()


def _closed(door: Door | None) -> Answer | None:
    retry = (b"retry-after", b"1")
    if door is None or not door.open:
        return refuse(503, "This replica is starting; try again shortly.", "starting", retry)
    if door.draining:
        return refuse(503, "This replica is shutting down; try again.", "draining", retry, (b"connection", b"close"))
    if not door.alive():
        return refuse(503, "This replica's engine has stopped; try again.", "engine_dead", retry, (b"connection", b"close"))
    return None


def _too_large(scope: Scope, limit: int) -> Answer | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > limit):
            return _body_limit(limit)
    return None


def _body_limit(limit: int) -> Answer:
    return refuse(413, f"The request body is larger than {limit} bytes.", "request_too_large", (b"connection", b"close"))


async def _read(receive: Receive, limit: int) -> bytes | None:
    """A body that does not tell its length, or None when it is too long (vLLM would read it whole in any case)."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > limit:
            return None
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay


def _outgoing(call: Call, send: Send) -> Send:
    """Adds the version's header, and gives vLLM's 404 for an unknown model OpenAI's code. Chunks pass untouched."""
    held: list[Message] = []

    async def outgoing(message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 404:
                held.append(message)
                return
            if call.version is not None:
                message["headers"] = [*message.get("headers", ()), (VERSION_HEADER, call.version.digest[:12].encode())]
        elif held:
            held.append(message)
            if not message.get("more_body", False):
                await _not_found(held)(send)
            return
        await send(message)

    return outgoing


def _not_found(held: list[Message]) -> Answer:
    try:
        error = json.loads(b"".join(message.get("body", b"") for message in held[1:]))["error"]
        text, about_model = str(error["message"]), error.get("param") == "model" or error.get("code") == "model_not_found"
    except (ValueError, KeyError, TypeError, AttributeError):
        return refuse(404, "This replica's model does not serve this route.", "not_served")
    return refuse(404, text, "model_not_found" if about_model else "not_found")
