"""The callers: a key of the Environment, a key of one service, or the holder of an Entra ID token;
and what each of them may still order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from serving.catalogue import EVALUATION_HEADER, KEY_LIMITS_HEADER, KEY_NAME_HEADER
from serving.gateway.routes import EntraGrant, GatewayRoutes
from serving.request.keys import Header, Key, Keys, Refusal, Use, digest_of
from serving.request.limits import Demand

SUBJECTS = 10_000  # holders of tokens whose use of limits is remembered
# How many requests run at a time is each replica's own limit; more of them are more replicas'.
_SHARED = {"parallel_requests": 1 << 30}
_ANYBODY = Key("", b"")


@dataclass(frozen=True)
class Caller:
    """Usage is counted under `name`; `service` is the only service that the key opens."""

    name: str
    key: Key
    service: str | None = None

    @property
    def sees(self) -> frozenset[str] | None:
        return self.key.models


class Callers:
    """The counted use of limits survives a change of the routes."""

    def __init__(self) -> None:
        self._environment = Keys()
        self._services: dict[str, Keys] = {}
        self._known: dict[bytes, Caller] = {}
        self._subjects: OrderedDict[str, Use] = OrderedDict()
        self._sharers = 1

    def share(self, sharers: int) -> None:
        """Split the limits: so many replicas of the gateway enforce an equal share of them each."""
        if sharers == self._sharers:
            return
        self._sharers = sharers
        for keys in (self._environment, *self._services.values()):
            keys.share(sharers)
        for use in self._subjects.values():
            use.share(sharers)

    def follow(self, routes: GatewayRoutes) -> None:
        self._environment.replace(routes.keys, routes.limits.model_copy(update=_SHARED))
        before, self._services = self._services, {}
        for service in routes.services:
            keys = self._services[service.name] = before.get(service.name) or Keys()
            keys.share(self._sharers)
            keys.replace(service.keys, service.limits.model_copy(update=_SHARED))
        # The Environment's keys come first. Which digest is looked for tells nothing of a key, so
        # that a look-up need not take the same time for all.
        self._known = {
            key.sha256: Caller(f"{service}/{key.name}", key, service)
            for service, keys in self._services.items()
            for key in keys
        }
        self._known |= {key.sha256: Caller(key.name, key) for key in self._environment}

    def find(self, headers: Iterable[Header]) -> Caller | None:
        """The caller whose key is in the headers."""
        return self._known.get(digest_of(headers))

    def holder(self, subject: str, grant: EntraGrant | None) -> Caller:
        """The caller of a checked token. Each subject has the grant's limits for itself."""
        name = f"entra:{subject}"
        use = self._subjects.setdefault(name, Use())
        self._subjects.move_to_end(name)
        if len(self._subjects) > SUBJECTS:
            self._subjects.popitem(last=False)
        own = grant or EntraGrant(value="")
        use.sharers = self._sharers
        use.limit(own.requests_per_minute, own.tokens_per_minute, own.parallel_requests, 0.0)
        models = None if own.models is None else frozenset(own.models)
        return Caller(name, Key(name, b"", models, use=use))

    def refusal(self, caller: Caller, service: str, order: Demand) -> Refusal | None:
        """Which limit the order exceeds; nothing is taken."""
        for keys, key in self._limiting(caller, service):
            if refused := keys.refusal(key, order):
                return refused
        return None

    def take(self, caller: Caller, service: str, order: Demand) -> Refusal | None:
        if refused := self.refusal(caller, service, order):
            return refused
        for keys, key in self._limiting(caller, service):
            keys.take(key, order)
        return None

    def settle(self, caller: Caller, service: str, order: Demand, used: int) -> None:
        for keys, key in self._limiting(caller, service):
            keys.settle(key, order, used)

    def charge(self, caller: Caller) -> None:
        """Count a request that was refused because of its content: judging it was work too."""
        keys = self._services.get(caller.service or "", self._environment)
        keys.charge(caller.key)

    def left(self, caller: Caller) -> list[Header]:
        """The headers about limits that OpenAI's clients read."""
        return self._environment.headers(caller.key)

    def _limiting(self, caller: Caller, service: str) -> list[tuple[Keys, Key]]:
        """Every request counts for its key, for its service and for the Environment."""
        own = self._services.get(service)
        if caller.service is not None:
            pairs = [(own, caller.key)] if own else []
            return [*pairs, (self._environment, _ANYBODY)]
        pairs = [(own, _ANYBODY)] if own else []
        return [(self._environment, caller.key), *pairs]


def caller_headers(name: str, limits: str, *, evaluation: bool) -> dict[str, str]:
    """The headers by which a service knows whose request it is, and what the key may."""
    headers = {KEY_NAME_HEADER: name}
    if limits:
        headers[KEY_LIMITS_HEADER] = limits
    if evaluation:
        headers[EVALUATION_HEADER] = "1"
    return headers


def limits_of(caller: Caller) -> str:
    """The limits of the caller's key as a header; empty where it has none."""
    return caller.key.limits.header() if caller.key.limits else ""
