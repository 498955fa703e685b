"""The routes that the gateway answers: its own, OpenAI's for every service, and nothing else.

It judges a request as the gate of a replica does, with the same modules; passage.py takes it from
there.
"""

from __future__ import annotations

import json
import logging
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from serving.gateway.background import Background
from serving.gateway.callers import Caller, caller_headers, limits_of
from serving.gateway.directory import Directory, Target, allowed, base_of
from serving.gateway.passage import BEGUN, Errand, Passage, reply
from serving.gateway.replies import RESPONSES
from serving.gateway.response_routes import ResponseRoutes
from serving.gateway.routes import GatewayRoutes
from serving.gateway.world import GatewayWorld
from serving.request import cors
from serving.request.answers import Answer, Message, refuse, too_large
from serving.request.bodies import Lane, RefusedError, read, refuse_by_size
from serving.request.keys import Header
from serving.request.limits import Bounds, Demand, judge
from serving.request.routes import (
    EVALUATION,
    METRICS,
    PROBES,
    STATE,
    refuse_route,
    translate,
    unknown,
)
from serving.request.routes import allowed_method as method_of

_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_PRINTABLE = re.compile(r"[ -~]{1,1024}")
_LISTED = 20
_TOO_MANY = 429
# Of a caller's headers a service sees these. The key is the gateway's own.
_PASSED = ("content-type", "accept", "x-moorage-sticky", "traceparent", "tracestate")
_MODELS, _ONE_MODEL = "/v1/models", "/v1/models/"
_TIMEOUT_HEADER = "x-scale-up-timeout"
_UNAUTHORIZED = refuse(
    401, "Incorrect or missing API key.", "invalid_api_key", (b"www-authenticate", b"Bearer")
)
_STARTING = refuse(503, "This gateway is starting; try again.", "starting", (b"retry-after", b"1"))
_FAILED = refuse(500, "The gateway failed; ask again.", "gateway_failed")
log = logging.getLogger("moorage.gateway")
Extra = list[tuple[str, str]]


@dataclass
class Asked:
    """A request as its head says it: with the method and path that OpenAI's routes have."""

    request: web.BaseRequest
    scope: dict[str, Any]
    deployment: str | None
    id: str

    @classmethod
    def of(cls, request: web.BaseRequest) -> Asked:
        raw = request.raw_path.partition("?")[0].encode()
        headers = [(name.lower(), value) for name, value in request.raw_headers]
        scope: dict[str, Any] = {
            "type": "http",
            "method": request.method,
            "path": request.path,
            "raw_path": raw,
            "headers": headers,
        }
        given = request.headers.get("x-request-id", "")
        return cls(
            request,
            scope,
            translate(scope),
            given if _ID.fullmatch(given) else secrets.token_hex(16),
        )

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def headers(self) -> list[Header]:
        found: list[Header] = self.scope["headers"]
        return found


class Front:
    """`world` is what the routes say now. A handler of aiohttp's low-level server."""

    def __init__(self, world: GatewayWorld, background: Background) -> None:
        self._world = world
        self._responses = ResponseRoutes(background, world.patience.comments)
        self._lane = Lane(world.spot.room)
        self.running = 0
        self.draining = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.running += 1
        try:
            response = await self._answer(Asked.of(request))
        except Exception as error:
            if not isinstance(error, ConnectionError):
                log.exception("a request failed")
            if request.get(BEGUN) or isinstance(error, ConnectionError):
                # The caller has left, or has to see that its answer is cut.
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=499)
            return reply(_FAILED, [])
        finally:
            self.running -= 1
        if self.draining and not response.prepared:
            response.force_close()  # the next request goes to another gateway
        return response

    async def _answer(self, asked: Asked) -> web.StreamResponse:
        path, routes = asked.path, self._world.routes
        extra: Extra = [("server", "moorage"), ("x-request-id", asked.id)]
        if path in PROBES:
            return reply(self._probe(path), extra)
        if routes is None:
            return reply(_STARTING, extra)
        method = method_of(asked.scope)
        if asked.request.method == "OPTIONS":
            allowed_here = cors.preflight(routes.cors, asked.headers, method)
            if allowed_here is not None:
                return reply(allowed_here, extra)
        extra += _text(cors.added(routes.cors, asked.headers))
        try:
            return await self._known(asked, routes, extra)
        except RefusedError as error:
            response = reply(error.answer, extra)
            if "expect" in asked.request.headers and not asked.request.content.is_eof():
                response.force_close()  # nobody knows whether the body comes yet
            return response

    async def _known(self, asked: Asked, routes: GatewayRoutes, extra: Extra) -> web.StreamResponse:
        """Raises RefusedError."""
        stored = self._responses.matches(asked.path)
        if not stored and (refusal := refuse_route(asked.scope)):
            raise RefusedError(refusal)
        caller = await self._world.caller(asked.headers)
        if asked.path in (METRICS, STATE):
            return self._admin(asked, caller)
        if caller is None or caller.key.admin:
            raise RefusedError(_UNAUTHORIZED)
        if stored:
            return await self._responses.answer(asked.request, asked.path, caller, extra)
        if asked.path in EVALUATION and not caller.key.evaluation:
            raise RefusedError(unknown(asked.scope))
        if asked.request.method == "GET":
            return reply(self._models(asked, caller), extra)
        with ExitStack() as kept:
            try:
                ordered = await self._errand(asked, routes, caller, kept)
            except RefusedError as error:
                if error.answer.status != _TOO_MANY:
                    self._world.callers.charge(caller)
                extra += _text(self._world.callers.left(caller))
                raise
            return await self._ordered(asked, ordered, caller, extra)

    async def _ordered(
        self, asked: Asked, ordered: tuple[Errand, str, Demand], caller: Caller, extra: Extra
    ) -> web.StreamResponse:
        """Raises RefusedError."""
        errand, service, order = ordered
        extra += _text(self._world.callers.left(caller))
        # Set before anything is sent, because a stream's headers go out while it still waits.
        errand.extra = extra
        if in_background(errand.asked, asked.path):
            return await self._responses.take(
                asked.request,
                caller,
                errand,
                lambda used: self._world.callers.settle(caller, service, order, used),
                extra,
            )
        passage = Passage(
            errand,
            self._world.backends,
            self._world.upstreams,
            self._world.usage,
            self._world.patience,
        )
        try:
            return await passage.run(asked.request)
        finally:
            self._world.callers.settle(caller, service, order, sum(passage.meter.tokens))

    def _probe(self, path: str) -> Answer:
        good = path == "/live" or (self._world.routes is not None and not self.draining)
        reason = "" if good else "draining" if self.draining else "no routes have been read yet"
        return Answer(200 if good else 503, json.dumps({"ok": good, "reason": reason}).encode())

    def _admin(self, asked: Asked, caller: Caller | None) -> web.Response:
        """Metrics and state, for an admin key of the Environment. For every other key these routes
        do not exist.
        """
        if caller is None or not caller.key.admin or caller.service is not None:
            raise RefusedError(unknown(asked.scope))
        if asked.path == STATE:
            return reply(
                Answer(200, self._world.state().model_dump_json(by_alias=True).encode()), []
            )
        return web.Response(body=self._world.metrics(), content_type="text/plain")

    def _models(self, asked: Asked, caller: Caller) -> Answer:
        directory = self._world.directory
        if asked.path == _MODELS:
            listed = [self._model(one) for one in directory.listed(caller.service, caller.sees)]
            return Answer(200, json.dumps({"object": "list", "data": listed}).encode())
        target = self._target(asked.path.removeprefix(_ONE_MODEL), caller)
        return Answer(200, json.dumps(self._model(target)).encode())

    def _model(self, target: Target) -> dict[str, Any]:
        """A model as OpenAI lists it, and whether its service is awake."""
        state = self._world.backends[target.service.name].state()
        base = base_of(target.service)
        return {
            "id": target.name,
            "object": "model",
            "created": int(self._world.began.timestamp()),
            "owned_by": "moorage",
            "root": target.model.name,
            "parent": base.name if base and target.model.kind == "adapter" else None,
            **({"shutdown_date": target.model.shutdown_date} if target.model.shutdown_date else {}),
            "moorage": {
                "service": target.service.name,
                "state": state.state,
                "seconds_left": state.predicted_seconds,
            },
        }

    def _target(self, name: str, caller: Caller) -> Target:
        """Raises RefusedError."""
        directory = self._world.directory
        target = directory.find(name, caller.service)
        if target is None:
            raise RefusedError(_no_model(name, directory, caller))
        if not allowed(target, caller.sees):
            text = (
                f"The key {caller.name!r} may not use the model {name[:100]!r}; it may use"
                f" {_names(directory, caller)}."
            )
            raise RefusedError(refuse(403, text, "model_not_allowed", param="model"))
        return target

    async def _errand(
        self, asked: Asked, routes: GatewayRoutes, caller: Caller, kept: ExitStack
    ) -> tuple[Errand, str, Demand]:
        """The errand of the request, within its caller's limits. Raises RefusedError."""
        # Until the model is known, the largest body limit of all services applies.
        services = self._world.directory.services.values()
        most = max((service.limits.body for service in services), default=routes.limits.body)
        body = await self._body(asked, caller, most, kept)
        try:
            value = await self._lane.parse(body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise RefusedError(
                refuse(400, "The request body is not a JSON object.", "invalid_body")
            )
        target = self._target(self._name(value, asked, caller), caller)
        service = target.service
        if len(body) > service.limits.body:
            raise RefusedError(too_large(service.limits.body))
        bounds = Bounds.of(service.limits, caller.key.limits)
        judged = {**value, "background": None} if in_background(value, asked.path) else value
        order = judge(judged, asked.path, bounds, len(body))
        if isinstance(order, Answer):
            raise RefusedError(order)
        if refusal := self._world.callers.take(caller, service.name, order):
            raise RefusedError(refusal.answer)
        headers = _passed(asked)
        headers |= caller_headers(caller.name, limits_of(caller), evaluation=caller.key.evaluation)
        hold = self._hold(asked, routes, streamed=value.get("stream") is True)
        fallback = self._world.directory.fallback(target, caller.service, caller.sees)
        errand = Errand(target, asked.path, body, value, headers, caller.name, hold, fallback)
        return errand, service.name, order

    async def _body(self, asked: Asked, caller: Caller, most: int, kept: ExitStack) -> bytes:
        length = asked.request.content_length
        if length is not None and length > most:
            raise RefusedError(too_large(most))
        receive = _receiver(asked.request)
        # Charge one request now, the least that any body can order, because large bodies take time
        # to arrive.
        if refusal := self._world.callers.refusal(caller, caller.service or "", Demand()):
            used_up = RefusedError(refusal.answer)
            raise await refuse_by_size(used_up, receive, asked.headers, most)
        content = asked.request.content
        if (
            length is not None
            and content.is_eof()
            and "content-encoding" not in asked.request.headers
        ):
            return content.read_nowait()  # all of it is there: it came with the head
        with ExitStack() as reading:
            try:
                room = self._lane.room(most if length is None else length, caller.name)
                reading.enter_context(room)
            except RefusedError as error:
                raise await refuse_by_size(error, receive, asked.headers, most) from None
            if asked.request.headers.get("expect", "").lower() == "100-continue":
                # Such a client sends its body only when it is asked to.
                await asked.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                asked.request.writer.output_size = 0
            body = await read(receive, asked.headers, most)
        # The room is held until the answer, because a hundred requests may wait for a service.
        kept.enter_context(self._lane.room(len(body), caller.name))
        return body

    def _name(self, value: Mapping[str, Any], asked: Asked, caller: Caller) -> str:
        """The model's name; a caller who can use one service alone means its base without one."""
        name = asked.deployment or value.get("model")
        if isinstance(name, str) and name:
            return name
        services = self._world.directory.services
        only = caller.service or (next(iter(services)) if len(services) == 1 else None)
        base = base_of(services[only]) if only in services else None
        if base is None:
            text = "You must provide a model parameter."
            raise RefusedError(refuse(400, text, "missing_required_parameter", param="model"))
        return f"{only}/{base.name}"

    def _hold(self, asked: Asked, routes: GatewayRoutes, *, streamed: bool) -> float:
        """How long the caller waits for a service that starts: less if it says so."""
        most = self._world.patience.stream if streamed else routes.hold.seconds
        try:
            own = float(asked.request.headers.get(_TIMEOUT_HEADER, ""))
        except ValueError:
            return most
        return min(most, max(0.0, own)) if math.isfinite(own) else most


def in_background(asked: Mapping[str, Any], path: str) -> bool:
    return path == RESPONSES and asked.get("background") is True


def _no_model(name: str, directory: Directory, caller: Caller) -> Answer:
    text = (
        f"The model {name[:100]!r} does not exist. This key may use: {_names(directory, caller)}."
    )
    return refuse(404, text, "model_not_found", param="model")


def _names(directory: Directory, caller: Caller) -> str:
    names = [target.name for target in directory.listed(caller.service, caller.sees)]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _passed(asked: Asked) -> dict[str, str]:
    headers = asked.request.headers
    passed = {
        name: headers[name] for name in _PASSED if _PRINTABLE.fullmatch(headers.get(name, ""))
    }
    return {**passed, "content-type": "application/json", "x-request-id": asked.id}


def _receiver(request: web.BaseRequest) -> Callable[[], Awaitable[Message]]:
    content = request.content

    async def receive() -> Message:
        chunk = await content.readany()
        return {"type": "http.request", "body": chunk, "more_body": not content.at_eof()}

    return receive


def _text(headers: list[Header]) -> Extra:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
