"""The ARM front: who calls, which api-version, which provider. Providers get a `Call` and give a
`Reply`.
"""

import json
import logging
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from inspect import isawaitable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from infra.local_azure.login import TokenError
from infra.local_azure.templates import relaxed

from . import ids, shapes, types
from .call import Call, Handler, Reply, Routes
from .errors import GATEWAY, ArmError, bad_request, not_implemented
from .limits import APP_INTERVAL_S, OFF, Buckets, Limits

if TYPE_CHECKING:
    from infra.local_azure.azure import Azure

OPEN = {"get metadata/endpoints"}
_VERSION = re.compile(r"(\d{4}-\d{2}-\d{2})(-preview|-privatepreview|-alpha|-beta)?", re.IGNORECASE)
_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
_OWN_COUNT = "x-ms-ratelimit-remaining-subscription-resource-requests"
log = logging.getLogger(__name__)


class Front:
    """Answers one ARM request; never raises."""

    def __init__(self, azure: "Azure", routes: Routes, gate: Callable[[Call], None]) -> None:
        """`gate` refuses a known request before its provider sees it: locks."""
        self._azure = azure
        self._routes = routes
        self._gate = gate
        pace = azure.options.pace
        buckets = azure.options.rates or Buckets().faster(pace.speed)
        self._limits = Limits(buckets, 0 if buckets == OFF else pace.scaled(APP_INTERVAL_S))

    async def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        base: str,
    ) -> Reply:
        """`path` is still percent-encoded; the answer has every header ARM sends."""
        try:
            reply = await self._dispatch(method, ids.parse(path), query, headers, body, base)
        except ArmError as refused:
            reply = Reply(refused.status, refused.body(), refused.headers)
        except Exception:
            log.exception("%s %s failed", method, path)
            text = {
                "error": {
                    "code": "InternalServerError",
                    "message": "The local Azure failed; see its log.",
                }
            }
            reply = Reply(500, text)
        return Reply(
            reply.status,
            reply.body,
            {**self._common(headers), **self._remaining(method, headers, reply), **reply.headers},
        )

    async def _dispatch(
        self,
        method: str,
        target: ids.Target,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        base: str,
    ) -> Reply:
        principal = (
            "" if f"{method.lower()} {target.route}" in OPEN else self._authenticate(headers, base)
        )
        return await self._serve(method, target, query, body, base, principal, headers)

    async def _serve(
        self,
        method: str,
        target: ids.Target,
        query: Mapping[str, str],
        body: bytes,
        base: str,
        principal: str,
        headers: Mapping[str, str],
    ) -> Reply:
        self._subscription(target)
        self._limits.take(method, principal, self._azure.login.identity.subscription)
        self._azure.hooks.arm(principal)
        version = _version(query)
        types.check(target, version)
        handler, only_head = self._handler(method, target)
        if target.namespace and method not in {"GET", "HEAD"}:
            self._registered(target)
        call = Call(
            self._azure,
            method,
            target,
            query,
            version,
            _parse(body, target),
            base,
            principal,
            body,
            headers,
        )
        self._gate(call)
        counted = self._app_write(method, target)
        self._azure.hooks.about_to_write(target, lambda: self._look(call))
        answer = handler(call)
        reply = await answer if isawaitable(answer) else answer
        self._azure.hooks.settled(target.key)
        if only_head:
            return Reply(204 if reply.status == 200 else reply.status)
        return Reply(reply.status, self._listed(reply.body, target), {**counted, **reply.headers})

    def _handler(self, method: str, target: ids.Target) -> tuple[Handler, bool]:
        """The provider's function, and whether a GET's stands in for a HEAD."""
        handler = self._routes.get(f"{method.lower()} {target.route}")
        if (
            handler is None
            and method == "HEAD"
            and (found := self._routes.get(f"get {target.route}"))
        ):
            return found, True
        if handler is None:
            raise self._unknown(method, target)
        return handler, False

    def _look(self, call: Call) -> dict[str, Any] | None:
        """The resource as its GET shows it, before a write changes it."""
        handler = self._routes.get(f"get {call.target.route}")
        answer = handler(replace(call, method="GET", body=None)) if handler else None
        return answer.body if isinstance(answer, Reply) and isinstance(answer.body, dict) else None

    def _listed(self, body: Any, target: ids.Target) -> Any:
        if isinstance(body, dict) and isinstance(body.get("value"), list):
            return {**body, "value": self._azure.hooks.listed(body["value"], target)}
        return body

    def _app_write(self, method: str, target: ids.Target) -> dict[str, str]:
        """Microsoft.App counts its writes itself, and shows its own count only."""
        if method not in {"PUT", "PATCH"} or len(target.names) != 1:
            return {}
        kind = target.route.removesuffix("/{}")
        return self._limits.app_write(kind, f"{kind}/write")

    async def send(self, method: str, path: str, version: str, body: Any, principal: str) -> Reply:
        """A request that this Azure makes itself on a caller's behalf; it meets every rule that the
        caller's own would.
        """
        raw = b"" if body is None else json.dumps(body).encode()
        try:
            return await self._serve(
                method,
                ids.parse(quote(path)),
                {"api-version": version},
                raw,
                self._azure.base,
                principal,
                {},
            )
        except ArmError as refused:
            return Reply(refused.status, refused.body(), refused.headers)

    def knows(self, method: str, path: str) -> bool:
        """Is there a provider for this?"""
        return f"{method.lower()} {ids.parse(quote(path)).route}" in self._routes

    def _authenticate(self, headers: Mapping[str, str], base: str) -> str:
        """The caller's object id; 401 with the header that tells a client where to log in."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if not token:
            raise self._unauthorized(
                base,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            )
        if scheme.lower() != "bearer":
            raise self._unauthorized(
                base,
                "AuthenticationFailedInvalidHeader",
                "Authentication failed. The header is invalid.",
            )
        try:
            claims = self._azure.login.verify(token)
        except TokenError as refused:
            raise self._unauthorized(base, refused.code, refused.message) from None
        audience = str(claims["aud"]).rstrip("/").replace("//localhost:", "//127.0.0.1:")
        if audience not in (*_AUDIENCES, base.replace("//localhost:", "//127.0.0.1:")):
            text = (
                "The access token has been obtained for wrong audience or resource"
                f" '{claims['aud']}'."
            )
            raise self._unauthorized(base, "InvalidAuthenticationTokenAudience", text)
        return str(claims["oid"])

    def _unauthorized(self, base: str, code: str, message: str) -> ArmError:
        authority = f"{base}/{self._azure.login.identity.tenant}"
        challenge = (
            f'Bearer authorization_uri="{authority}", error="invalid_token",'
            f' error_description="{message}"'
        )
        return ArmError(
            401,
            code,
            message,
            headers={"WWW-Authenticate": challenge, "x-ms-failure-cause": "gateway"},
        )

    def _subscription(self, target: ids.Target) -> None:
        known = self._azure.login.identity.subscription
        if target.subscription is not None and target.subscription.lower() != known:
            message = f"The subscription '{target.subscription}' could not be found."
            raise ArmError(
                404, "SubscriptionNotFound", message, headers={"x-ms-failure-cause": "gateway"}
            )

    def _registered(self, target: ids.Target) -> None:
        namespace = target.namespace or ""
        if "register" not in target.route and self._azure.registration(namespace) != "Registered":
            message = f"The subscription is not registered to use namespace '{namespace}'."
            message += " See https://aka.ms/rps-not-found for how to register subscriptions."
            detail = {
                "code": "MissingSubscriptionRegistration",
                "target": namespace,
                "message": message,
            }
            raise ArmError(
                409,
                "MissingSubscriptionRegistration",
                message,
                headers=GATEWAY,
                more={"details": [detail]},
            )

    def _unknown(self, method: str, target: ids.Target) -> ArmError:
        """A known path with another method is 405; everything else is honestly not there."""
        known = {
            name.split(" ", 1)[0].upper()
            for name in self._routes
            if name.split(" ", 1)[1] == target.route
        }
        if known:
            message = f"The requested resource does not support http method '{method}'."
            return ArmError(
                405, "MethodNotAllowed", message, headers={"Allow": ", ".join(sorted(known))}
            )
        return not_implemented(f"{method} {target.path}")

    def _remaining(
        self, method: str, headers: Mapping[str, str], reply: Reply
    ) -> Mapping[str, str]:
        """The caller's buckets, unless the provider shows its own count."""
        if _OWN_COUNT in reply.headers:
            return {}
        token = headers.get("Authorization", "").partition(" ")[2]
        try:
            principal = str(self._azure.login.verify(token)["oid"]) if token else ""
        except TokenError:
            principal = ""
        return self._limits.headers(method, principal)

    def _common(self, headers: Mapping[str, str]) -> dict[str, str]:
        request = str(uuid.uuid4())
        common = {
            "x-ms-request-id": request,
            "x-ms-correlation-request-id": headers.get("x-ms-correlation-request-id", request),
            "x-ms-routing-request-id": f"LOCAL:{datetime.now(UTC):%Y%m%dT%H%M%SZ}:{request}",
            "Cache-Control": "no-cache",
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
        }
        if "x-ms-client-request-id" in headers:
            common["x-ms-client-request-id"] = headers["x-ms-client-request-id"]
        return common


def _version(query: Mapping[str, str]) -> str:
    """Any dated version is taken, as long as its date is one that Azure could have published."""
    text = query.get("api-version")
    if not text:
        raise bad_request(
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    match = _VERSION.fullmatch(text)
    try:
        day = date.fromisoformat(match[1]) if match else None
    except ValueError:
        day = None
    today = datetime.now(UTC).date()
    if day is None or not date(2014, 1, 1) <= day <= today + timedelta(days=366):
        raise bad_request("InvalidApiVersionParameter", f"The api-version '{text}' is invalid.")
    return text


def _parse(body: bytes, target: ids.Target) -> Any:
    """Deployments are read as leniently as ARM reads them, because the az CLI sends them as their
    authors wrote them.
    """
    if not body.strip():
        return None
    try:
        if target.namespace == "Microsoft.Resources":
            return relaxed.read(body.decode("utf-8-sig")).value
        parsed = json.loads(body, parse_constant=_no_number, parse_float=_finite)
        if b"\\u" in body:
            json.dumps(parsed, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as wrong:
        message = f"The request content was invalid and could not be deserialized: '{wrong}'."
        raise bad_request("InvalidRequestContent", message) from None
    return shapes.read(target.route, parsed)


def _no_number(text: str) -> Any:
    raise ValueError(f"Unexpected character encountered while parsing value: {text}.")


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _no_number(text)
