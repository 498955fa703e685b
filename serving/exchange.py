"""One request with a valid key: reads its body within the limits, gives it to vLLM, and answers in
OpenAI's shape.

gate.py makes an Exchange for each request; bodies.py, limits.py and keys.py judge its parts.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from serving.catalogue import Cors, Limits
from serving.request.answers import Answer, Message, Send, refuse, too_large, translated
from serving.request.bodies import (
    Incoming,
    Lane,
    RefusedError,
    answer_and_drop,
    read,
    refuse_by_size,
)
from serving.request.keys import Header, Key, Keys
from serving.request.limits import Bounds, Demand, judge
from serving.request.relayed import is_stream, with_usage
from serving.request.schemas import Grammar, compiles, large_grammar
from serving.request.traffic import Call, current_call
from serving.telemetry.tracing import span
from serving.turns.compilations import Compilations
from serving.turns.preparations import Preparations

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

VERSION_HEADER, ID_HEADER, STICKY_HEADER = (
    b"x-moorage-adapter-version",
    b"x-request-id",
    b"x-moorage-sticky",
)
TOO_MANY = 429
LEFT = 499  # nginx's status for a client that disconnected before the answer
_ID = re.compile(rb"[\w.:-]{1,64}", re.ASCII)


@dataclass
class Door:
    """What the gate needs to know: the keys, whether the replica is ready and if not why, and
    whether the engine is alive.

    `models` are all public names, `base` the one that a body without `model` means. `ended` is
    called after every call, with the body where prompts are logged.
    """

    ready: Callable[[], tuple[bool, str]]
    alive: Callable[[], bool]
    keys: Keys = field(default_factory=Keys)
    limits: Limits = field(default_factory=Limits)
    cors: Cors | None = None
    base: str = ""
    models: Callable[[], list[str]] = field(default=list)
    log_prompts: bool = False
    open: bool = False
    draining: bool = False
    running: int = 0
    on_idle: Callable[[], None] = field(default=lambda: None)
    ended: Callable[[Call, bytes], None] = field(default=lambda _call, _body: None)
    state: Callable[[], dict[str, Any]] = field(default=dict)
    lane: Lane = field(default_factory=Lane)
    compilations: Compilations = field(default_factory=Compilations)
    preparations: Preparations = field(default_factory=Preparations)
    calls: set[Call] = field(default_factory=set)


class Exchange:
    """One request with a valid key, and its answer."""

    def __init__(
        self, app: App, door: Door, key: Key, scope: Scope, deployment: str | None
    ) -> None:
        self._app, self._door, self._key, self._scope = app, door, key, scope
        self._deployment = deployment
        self._bounds = Bounds.of(door.limits, key.limits)
        self.relayed = key.relayed
        self._grammar: Grammar | None = None
        self._call = Call(
            key.name,
            _request_id(scope),
            models=key.models,
            prompt_limit=self._bounds.prompt_tokens,
            output_limit=self._bounds.output_tokens,
            prompt_logprobs=key.evaluation,
            route=scope["path"],
        )

    async def run(self, receive: Incoming, send: Send) -> None:
        with span(self._scope, self._call):
            await self._run(receive, send)

    async def _run(self, receive: Incoming, send: Send) -> None:
        call, door = self._call, self._door
        body, order, token = b"", None, current_call.set(call)
        given: Receive = receive
        door.calls.add(call)
        try:
            if self._scope["method"] == "POST":
                body, order = await self._take(receive)
                given = _replay(body, receive)
            compiling = door.compilations.turn(self._key.name, self._grammar, call, receive)
            room = door.lane.room(len(body), self._key.name)
            async with compiling, door.preparations.turn(call, len(body), receive, room):
                await self._app(self._scope, given, _outgoing(self, send))
        except RefusedError as error:
            call.status = error.answer.status
            # A refusal for too many requests must not use up the limit any further.
            if call.status != TOO_MANY:
                door.keys.charge(self._key)
            answer = replace(error.answer, headers=(*error.answer.headers, *self.named()))
            await answer_and_drop(answer, self._scope, receive, send)
        except ConnectionError:
            call.status = LEFT
        except Exception:
            call.failed = True
            raise
        finally:
            # In any case, because a call that is never ended would count as running for ever.
            current_call.reset(token)
            door.calls.discard(call)
            if order is not None:
                door.keys.settle(self._key, order, call.prompt_tokens + call.completion_tokens)
            call.end()
            door.ended(call, body if door.log_prompts else b"")

    async def _take(self, receive: Receive) -> tuple[bytes, Demand]:
        """The body, and what it asks for, which is charged to the key's limits. Raises
        RefusedError.
        """
        door, scope = self._door, self._scope
        if _length(scope, door.limits.body) > door.limits.body:
            raise RefusedError(too_large(door.limits.body))
        with ExitStack() as kept:
            try:
                # A key that has used up its limit is refused before its body is read.
                if refusal := door.keys.refusal(self._key, Demand()):
                    raise RefusedError(refusal.answer)
                kept.enter_context(door.lane.room(_length(scope, door.limits.body), self._key.name))
            except RefusedError as error:
                raise await refuse_by_size(
                    error, receive, scope["headers"], door.limits.body
                ) from None
            body = await read(receive, scope["headers"], door.limits.body)
        with door.lane.room(len(body), self._key.name):
            async with door.lane.turn(len(body), self._key.name):
                return await self._judge(body)

    async def _judge(self, body: bytes) -> tuple[bytes, Demand]:
        """The demand of the body. There is no await after the body is parsed."""
        door, scope = self._door, self._scope
        try:
            asked = await door.lane.parse(body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            text = "The request body is not a JSON object."
            raise RefusedError(refuse(400, text, "invalid_body"))
        # Azure's clients name the model (deployment) in the path, but vLLM reads only the body.
        if self._deployment is not None and asked.get("model") != self._deployment:
            asked["model"] = self._deployment
            body = json.dumps(asked).encode()
        _refuse(self._look_into(asked))
        order = judge(asked, scope["path"], self._bounds, len(body))
        if isinstance(order, Answer):
            raise RefusedError(order)
        if refusal := door.keys.take(self._key, order):
            raise RefusedError(refusal.answer)
        _remeasured(scope, len(body))
        self._call.structured = compiles(asked)
        self._grammar = large_grammar(asked)
        return body, order

    def _look_into(self, asked: Mapping[str, Any]) -> Answer | None:
        """The requested model and the key that asks for it."""
        key, headers = self._key, self._scope["headers"]
        model = asked.get("model") or self._door.base
        given = (value.decode("latin-1") for name, value in headers if name == STICKY_HEADER)
        user = asked.get("user") or asked.get("safety_identifier") or ""
        self._call.sticky = next(given, "") or str(user)[:256]
        if key.models is None or (isinstance(model, str) and model in key.models):
            return None
        text = (
            f"The key {key.name!r} may not use the model {str(model)[:100]!r}; it may use"
            f" {', '.join(sorted(key.models))}."
        )
        return refuse(403, text, "model_not_allowed", param="model")

    def named(self) -> list[Header]:
        """Headers of every answer: the request's id, the version that answered, and what is left of
        the key's limits.
        """
        return [*_named(self._call), *self._door.keys.headers(self._key)]

    def models(self) -> list[str]:
        """The models that the key may use."""
        allowed = self._key.models
        return [name for name in self._door.models() if allowed is None or name in allowed]

    @property
    def call(self) -> Call:
        return self._call


def _length(scope: Scope, limit: int) -> int:
    """The Content-Length, at most the limit plus one; without that header, the limit plus one."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return min(int(value[:20]), limit + 1) if value.isdigit() else limit + 1
    return limit


def _refuse(answer: Answer | None) -> None:
    if answer is not None:
        raise RefusedError(answer)


def _remeasured(scope: Scope, length: int) -> None:
    """The headers of a body that was unpacked and read whole."""
    gone = {b"content-length", b"transfer-encoding", b"content-encoding"}
    kept = [pair for pair in scope["headers"] if pair[0] not in gone]
    scope["headers"] = [*kept, (b"content-length", str(length).encode())]


def _request_id(scope: Scope) -> str:
    """The client's own id if it is valid, else a new one. vLLM reads it from the header, too."""
    given = next((value for name, value in scope["headers"] if name == ID_HEADER), b"")
    if _ID.fullmatch(given):
        return given.decode()
    made = uuid.uuid4().hex
    scope["headers"] = [
        *((n, v) for n, v in scope["headers"] if n != ID_HEADER),
        (ID_HEADER, made.encode()),
    ]
    return made


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay


def _outgoing(exchange: Exchange, send: Send) -> Send:
    """Adds the headers, and translates vLLM's errors into OpenAI's. Chunks pass unchanged. After a
    stream, a gateway gets the usage.
    """
    held: list[Message] = []
    told = False

    async def outgoing(message: Message) -> None:
        nonlocal told
        if message["type"] == "http.response.start":
            told = exchange.relayed and is_stream(message.get("headers", ()))
            exchange.call.status = message["status"]
            message["headers"] = [
                *(pair for pair in message.get("headers", ()) if pair[0] != ID_HEADER),
                *exchange.named(),
            ]
            # The start is held back until the body has arrived, because the translation needs the
            # body.
            if message["status"] >= 400:
                held.append(message)
                return
        elif held:
            held.append(message)
            if not message.get("more_body", False):
                await _send_error(held, exchange, send)
            return
        elif told and not message.get("more_body", False):
            message = with_usage(message, exchange.call)
        await send(message)

    return outgoing


def _named(call: Call) -> list[Header]:
    version = (
        [(VERSION_HEADER, call.version.digest[:12].encode())] if call.version is not None else []
    )
    return [(ID_HEADER, call.id.encode()), *version]


async def _send_error(held: list[Message], exchange: Exchange, send: Send) -> None:
    body = b"".join(message.get("body", b"") for message in held[1:])
    answer = translated(held[0]["status"], body, exchange.models)
    if answer is None:
        for message in held:
            await send(message)
        return
    kept = tuple(
        (name, value) for name, value in held[0]["headers"] if name in {b"retry-after", b"allow"}
    )
    await Answer(answer.status, answer.body, (*kept, *exchange.named()))(send)
