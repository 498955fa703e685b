"""The ASGI gate in front of vLLM: denies every route but OpenAI's, checks API keys and limits,
refuses when draining.

vLLM's own key leaves admin routes open, so here everything is closed unless listed. The gate is the
outermost middleware (launch names it in `--middleware`); replica.py gives it its Door, without
which nothing passes.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

from serving.answers import Answer, Message, Send, refuse, translated
from serving.catalogue import Limits
from serving.keys import Key, Keys
from serving.traffic import Call, current_call

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ROUTES: dict[str, str] = {
    "/v1/models": "GET",
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/responses": "POST",
}
METRICS, STATE = "/metrics", "/state"
ADMIN = (METRICS, STATE)
PROBES = ("/ready", "/live")
VERSION_HEADER, ID_HEADER, STICKY_HEADER = (
    b"x-moorage-adapter-version",
    b"x-request-id",
    b"x-moorage-sticky",
)
_ONE_MODEL = re.compile(r"/v1/models/(?!.*\.\.)[\w.:@+/-]+", re.ASCII)
_ID = re.compile(rb"[\w.:-]{1,64}", re.ASCII)


@dataclass
class Door:
    """What the gate must know: the keys, whether it is ready and if not why, whether the engine
    lives.

    `splits` says that some name leads to two versions, so that bodies are looked into for who asks;
    `base` is the model that a body without `model` means; `ended` hears of every call that is over,
    with its body where prompts are logged.
    """

    ready: Callable[[], tuple[bool, str]]
    alive: Callable[[], bool]
    keys: Keys = field(default_factory=Keys)
    limits: Limits = field(default_factory=Limits)
    base: str = ""
    splits: bool = False
    log_prompts: bool = False
    open: bool = False
    draining: bool = False
    running: int = 0
    on_idle: Callable[[], None] = field(default=lambda: None)
    ended: Callable[[Call, bytes], None] = field(default=lambda _call, _body: None)
    state: Callable[[], dict[str, Any]] = field(default=dict)


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
        refusal = _probe(scope, door) or _route(scope)
        if refusal is None and scope["path"] in ADMIN:
            await self._admin(door, scope, receive, send)
            return
        refusal = refusal or _closed(door)
        if refusal is not None or door is None:
            await (refusal or _UNAUTHORIZED)(send)
            return
        key = door.keys.find(scope["headers"])
        if key is None or key.admin:
            await _UNAUTHORIZED(send)
            return
        door.running += 1  # from here on a drain waits for it
        try:
            await self._call(door, key, scope, receive, send)
        finally:
            door.running -= 1
            if door.draining and door.running == 0:
                door.on_idle()

    async def _admin(self, door: Door | None, scope: Scope, receive: Receive, send: Send) -> None:
        """For a person or a Prometheus with an admin key, while draining too; to all others these
        routes do not exist.
        """
        key = door.keys.find(scope["headers"]) if door is not None else None
        if door is None or key is None or not key.admin:
            await _unknown(scope)(send)
        elif scope["path"] == METRICS:
            await self._app(scope, receive, send)
        else:
            await Answer(200, json.dumps(door.state(), indent=1).encode())(send)

    async def _call(self, door: Door, key: Key, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(
            key.name, _request_id(scope), models=key.models, prompt_limit=door.limits.prompt_tokens
        )
        body, token = b"", current_call.set(call)
        refusal = _too_large(scope, door.limits.body) or _too_often(scope, door, key)
        try:
            if refusal is None and _concerns_us(scope, door, key):
                whole = await _read(receive, door.limits.body)
                body, receive = whole or b"", _replay(whole or b"", receive)
                refusal = (
                    _body_limit(door.limits.body)
                    if whole is None
                    else _look_into(body, scope, key, call, door)
                )
            if refusal is None:
                await self._app(scope, receive, _outgoing(call, send))
            else:
                call.status = refusal.status
                await replace(refusal, headers=(*refusal.headers, *_named(call)))(send)
        except Exception:
            call.failed = True
            raise
        finally:
            current_call.reset(token)
            call.end()
            door.ended(call, body if door.log_prompts else b"")


_UNAUTHORIZED = refuse(
    401, "Incorrect or missing API key.", "invalid_api_key", (b"www-authenticate", b"Bearer")
)


def _probe(scope: Scope, door: Door | None) -> Answer | None:
    if scope["path"] not in PROBES or scope["method"] not in {"GET", "HEAD"} or not _literal(scope):
        return None
    if scope["path"] == "/live":
        good, reason = (True, "starting") if door is None else (door.alive(), "the engine is dead")
    else:
        good, reason = (False, "starting") if door is None else door.ready()
    return Answer(
        200 if good else 503, json.dumps({"ok": good, "reason": "" if good else reason}).encode()
    )


def _route(scope: Scope) -> Answer | None:
    """Exact text only: no encoding, no second slash, no other case, no prefix can name a listed
    route differently.
    """
    path, method = scope["path"], scope["method"]
    if path in ADMIN and method == "GET" and _literal(scope) and not scope.get("root_path"):
        return None
    allowed = "GET" if _ONE_MODEL.fullmatch(path) else ROUTES.get(path) if _literal(scope) else None
    if allowed is None or scope.get("root_path"):
        return _unknown(scope)
    if method != allowed:
        return refuse(
            405,
            f"Not allowed to {method} on {path}",
            "method_not_allowed",
            (b"allow", allowed.encode()),
        )
    return None


def _unknown(scope: Scope) -> Answer:
    return refuse(404, f"Invalid URL ({scope['method']} {scope['path'][:200]})", "unknown_url")


def _literal(scope: Scope) -> bool:
    raw = scope.get("raw_path")
    return raw is None or raw == scope["path"].encode()


def _closed(door: Door | None) -> Answer | None:
    retry = (b"retry-after", b"1")
    if door is None or not door.open:
        return refuse(503, "This replica is starting; try again shortly.", "starting", retry)
    if door.draining:
        return refuse(
            503,
            "This replica is shutting down; try again.",
            "draining",
            retry,
            (b"connection", b"close"),
        )
    if not door.alive():
        return refuse(
            503,
            "This replica's engine has stopped; try again.",
            "engine_dead",
            retry,
            (b"connection", b"close"),
        )
    return None


def _too_often(scope: Scope, door: Door, key: Key) -> Answer | None:
    if scope["method"] != "POST" or not (wait := door.keys.wait(key)):
        return None
    limit = key.bucket.per_minute if key.bucket else 0
    text = f"The key {key.name!r} may send {limit} requests a minute; try again in {wait:.1f} s."
    return refuse(429, text, "rate_limit_exceeded", (b"retry-after", str(math.ceil(wait)).encode()))


def _too_large(scope: Scope, limit: int) -> Answer | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > limit):
            return _body_limit(limit)
    return None


def _body_limit(limit: int) -> Answer:
    return refuse(
        413,
        f"The request body is larger than {limit} bytes.",
        "request_too_large",
        (b"connection", b"close"),
    )


def _concerns_us(scope: Scope, door: Door, key: Key) -> bool:
    """Whether the body must be read here; otherwise it goes to vLLM as it comes."""
    unmeasured = not any(name == b"content-length" for name, _ in scope["headers"])
    return scope["method"] == "POST" and (
        unmeasured or key.models is not None or door.splits or door.log_prompts
    )


def _look_into(body: bytes, scope: Scope, key: Key, call: Call, door: Door) -> Answer | None:
    """Which model is asked for, and by whom. What cannot be read is vLLM's to refuse, unless the
    key is limited to models.
    """
    try:
        asked = json.loads(body)
        model = asked.get("model") or door.base
    except (ValueError, AttributeError, RecursionError):
        return (
            None
            if key.models is None
            else refuse(400, "The request body is not a JSON object.", "invalid_body")
        )
    given = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == STICKY_HEADER), ""
    )
    call.sticky = given or str(asked.get("user") or asked.get("safety_identifier") or "")
    if key.models is None or model in key.models:
        return None
    text = (
        f"The key {key.name!r} may not use the model {str(model)[:100]!r}; it may use"
        f" {', '.join(sorted(key.models))}."
    )
    return refuse(403, text, "model_not_allowed", param="model")


def _request_id(scope: Scope) -> str:
    """The client's own id if it is one, else a new one; vLLM takes it from the header, too."""
    given = next((value for name, value in scope["headers"] if name == ID_HEADER), b"")
    if _ID.fullmatch(given):
        return given.decode()
    made = uuid.uuid4().hex
    scope["headers"] = [
        *((n, v) for n, v in scope["headers"] if n != ID_HEADER),
        (ID_HEADER, made.encode()),
    ]
    return made


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None when it is too long (vLLM would read it whole in any case)."""
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
    """Adds the request's id and the version's header, and gives vLLM's errors OpenAI's words.
    Chunks pass untouched.
    """
    held: list[Message] = []

    async def outgoing(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
            message["headers"] = [
                *(pair for pair in message.get("headers", ()) if pair[0] != ID_HEADER),
                *_named(call),
            ]
            if message["status"] >= 400:
                held.append(message)
                return
        elif held:
            held.append(message)
            if not message.get("more_body", False):
                await _send_error(held, call, send)
            return
        await send(message)

    return outgoing


def _named(call: Call) -> list[tuple[bytes, bytes]]:
    version = (
        [(VERSION_HEADER, call.version.digest[:12].encode())] if call.version is not None else []
    )
    return [(ID_HEADER, call.id.encode()), *version]


async def _send_error(held: list[Message], call: Call, send: Send) -> None:
    body = b"".join(message.get("body", b"") for message in held[1:])
    answer = translated(held[0]["status"], body)
    if answer is None:
        for message in held:
            await send(message)
        return
    kept = tuple(
        (name, value) for name, value in held[0]["headers"] if name in {b"retry-after", b"allow"}
    )
    await Answer(answer.status, answer.body, (*kept, *_named(call)))(send)
