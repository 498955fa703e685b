"""The ARM front: every request goes one way through it.

Parse the path, find out who calls, take from the caller's limits, ask the caller's role, read
api-version and type, find the handler, read the body by its shape, look for locks, call the
handler, make the reply.
"""

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, Protocol
from urllib.parse import quote

from infra.local_azure.login import Login

from . import authority, ids, parsing, routing
from .call import Call, Handler, Routes
from .errors import GATEWAY, ArmError
from .limits import Limits
from .registration import Registrations
from .reply import Reply, page, refused
from .roles import Roles

OPEN = {"get metadata/endpoints"}
_OWN_COUNT = "x-ms-ratelimit-remaining-subscription-resource-requests"
log = logging.getLogger(__name__)


class Interference(Protocol):
    """The hooks of scripted faults in a request; each method may raise ArmError."""

    def arm(self, principal: str) -> None:
        """Called when the caller is known and nothing was read yet."""

    def about_to_write(self, target: ids.Target, look: Callable[[], dict[str, Any] | None]) -> None:
        """Called right before the handler. `look` is the resource as a GET shows it."""

    def settled(self, key: str) -> None:
        """Called after the handler has answered."""

    def listed(self, items: list[dict[str, Any]], target: ids.Target) -> list[dict[str, Any]]:
        """Returns the items that this page of a list shows."""


@dataclass(frozen=True)
class ArmRequest:
    """A request as it came: `path` is still percent-encoded, `base` is what the client calls this
    server.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base: str


class Front:
    """Answers one ARM request; never raises. `base` is this server's URL, known once it listens."""

    def __init__(
        self,
        login: Login,
        limits: Limits,
        registrations: Registrations,
        interference: Interference,
        page_size: int,
        roles: Roles,
    ) -> None:
        self.base = ""
        self._login = login
        self._limits = limits
        self._registrations = registrations
        self._interference = interference
        self._page_size = page_size
        self._roles = roles
        self._routes: dict[str, Handler] = {}
        self._shapes: dict[str, Any] = {}
        self._gate: Callable[[Call], None] = lambda _: None
        self._note: Callable[[Call, int, str], None] = lambda *_: None

    def add(self, routes: Routes, shapes: Mapping[str, Any]) -> None:
        """Serve a provider: its handlers and the shapes of the bodies that they take, by route."""
        self._routes |= routes
        self._shapes |= shapes

    def guard(self, gate: Callable[[Call], None]) -> None:
        """Let `gate` refuse requests before their handler sees them, as locks do."""
        self._gate = gate

    def watch(self, note: Callable[[Call, int, str], None]) -> None:
        """Call `note` for every answered call, with its status and an error's code."""
        self._note = note

    async def answer(self, request: ArmRequest) -> Reply:
        """The answer has every header that ARM sends."""
        try:
            target = ids.parse(request.path)
            reply = await self._serve(request, target, self._caller(request, target))
        except ArmError as error:
            reply = refused(error)
        # A defect here must look like Azure's own failure, or a client would take it for a refusal.
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            text = "The local Azure failed; see its log."
            reply = refused(ArmError(500, "InternalServerError", text))
        return replace(reply, headers={**self._common(request, reply), **reply.headers})

    async def send(self, method: str, path: str, version: str, body: Any, principal: str) -> Reply:
        """Answer a request that this Azure makes itself on behalf of a caller. All rules apply as
        if the caller had sent it.
        """
        raw = b"" if body is None else json.dumps(body).encode()
        request = ArmRequest(method, quote(path), {"api-version": version}, {}, raw, self.base)
        try:
            return await self._serve(request, ids.parse(request.path), principal)
        except ArmError as error:
            return refused(error)

    def knows(self, method: str, path: str) -> bool:
        """Whether there is a handler for this."""
        return f"{method.lower()} {ids.parse(quote(path)).route}" in self._routes

    def _caller(self, request: ArmRequest, target: ids.Target) -> str:
        if f"{request.method.lower()} {target.route}" in OPEN:
            return ""
        return authority.caller(self._login, request.headers, request.base)

    async def _serve(self, request: ArmRequest, target: ids.Target, principal: str) -> Reply:
        self._check_subscription(target)
        # Before anything is read, as ARM does: a refused request counts as well.
        self._limits.take(request.method, principal, self._login.identity.subscription)
        self._interference.arm(principal)
        client = self._login.identity.client
        self._roles.check(request.method, target, client, principal)
        version = parsing.version(request.query)
        routing.check_type(target, version)
        handler, only_head = routing.handler(self._routes, request.method, target)
        if target.namespace and request.method not in {"GET", "HEAD"}:
            self._registrations.check(target)
        call = self._call(request, target, version, principal)
        try:
            self._roles.check_links(call, client)
            self._gate(call)
            counted = self._count_write(call)
            self._interference.about_to_write(target, lambda: self._look(call))
            answer = handler(call)
            reply = await answer if isawaitable(answer) else answer
        except ArmError as error:
            self._note(call, error.status, error.code)
            raise
        self._note(call, reply.status, "")
        self._interference.settled(target.key)
        # ARM answers HEAD of what exists with 204, where GET has 200.
        if only_head:
            return Reply(204 if reply.status == 200 else reply.status)
        return Reply(reply.status, self._body(call, reply), {**counted, **reply.headers})

    def _check_subscription(self, target: ids.Target) -> None:
        known = self._login.identity.subscription
        if target.subscription is not None and target.subscription.lower() != known:
            message = f"The subscription '{target.subscription}' could not be found."
            raise ArmError(404, "SubscriptionNotFound", message, headers=GATEWAY)

    def _call(self, request: ArmRequest, target: ids.Target, version: str, principal: str) -> Call:
        shape = self._shapes.get(target.route)
        return Call(
            method=request.method,
            target=target,
            query=request.query,
            version=version,
            body=parsing.body(request.body, target.namespace, shape),
            base=request.base,
            principal=principal,
            raw=request.body,
            headers=request.headers,
        )

    def _count_write(self, call: Call) -> dict[str, str]:
        """Microsoft.App counts its own writes, and its answers show only that count."""
        if call.method not in {"PUT", "PATCH"} or len(call.target.names) != 1:
            return {}
        kind = call.target.route.removesuffix("/{}")
        return self._limits.app_write(kind, f"{kind}/write")

    def _look(self, call: Call) -> dict[str, Any] | None:
        """The resource as its GET shows it, before a write changes it."""
        handler = self._routes.get(f"get {call.target.route}")
        answer = handler(replace(call, method="GET", body=None)) if handler else None
        return answer.body if isinstance(answer, Reply) and isinstance(answer.body, dict) else None

    def _body(self, call: Call, reply: Reply) -> Any:
        body, target = reply.body, call.target
        if reply.items is not None:
            address = f"{call.base}{quote(target.path)}"
            body = page(reply.items, call.query, address, self._page_size)
        if isinstance(body, dict) and isinstance(body.get("value"), list):
            return {**body, "value": self._interference.listed(body["value"], target)}
        return body

    def _common(self, request: ArmRequest, reply: Reply) -> dict[str, str]:
        """The headers of every answer: its ids, and what is left of the caller's limits unless the
        provider shows a count of its own.
        """
        identifier, headers = str(uuid.uuid4()), request.headers
        common = {
            "x-ms-request-id": identifier,
            "x-ms-correlation-request-id": headers.get("x-ms-correlation-request-id", identifier),
            "x-ms-routing-request-id": f"LOCAL:{datetime.now(UTC):%Y%m%dT%H%M%SZ}:{identifier}",
            "Cache-Control": "no-cache",
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
        }
        if "x-ms-client-request-id" in headers:
            common["x-ms-client-request-id"] = headers["x-ms-client-request-id"]
        if _OWN_COUNT in reply.headers:
            return common
        principal = authority.known_caller(self._login, headers)
        return {**common, **self._limits.headers(request.method, principal)}
