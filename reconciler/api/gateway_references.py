"""What a gateway and the services behind it must agree on: names of container apps, of keys and of
models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from reconciler.api import names
from reconciler.api.auth_fields import Auth, unknown_models
from reconciler.api.documents import Environment, InferenceService
from reconciler.api.gateway_fields import Gateway, gateway_name
from reconciler.api.loaded import Loaded
from reconciler.api.problems import Problem
from reconciler.api.references import Declared
from serving.catalogue import GATEWAY_KEY

AT = ("spec", "gateway")


class Routed(NamedTuple):
    """A service behind a gateway, and where it is declared."""

    declared: Declared
    service: InferenceService

    @property
    def name(self) -> str:
        return self.declared.name


def gateway_problems(declared: Sequence[Declared]) -> Iterator[Problem]:
    """Problems between an Environment's gateway and the other documents."""
    taken = {one.name: one for one in declared if one.kind == "InferenceService"}
    for one in declared:
        document = one.document
        if not isinstance(document, Environment) or document.spec.gateway is None:
            continue
        gateway, services = document.spec.gateway, _services(declared, one.name)
        yield from _named(one, gateway, taken)
        taken.setdefault(gateway_name(one.name, gateway), one)
        yield from _models(one, gateway, services)
        yield from _fallbacks(one, gateway, services)
        for service in services:
            yield from _keys(service, one.name)


def gateway_notes(loaded: Loaded, documents: Sequence[Loaded]) -> Iterator[str]:
    """Hints about an Environment's gateway: names that lead to no single service."""
    environment = loaded.document
    if not isinstance(environment, Environment) or environment.spec.gateway is None:
        return
    services = [
        each.document
        for each in documents
        if isinstance(each.document, InferenceService)
        and each.document.spec.environment == environment.metadata.name
    ]
    for name, owners in ambiguous(services).items():
        ways = " or ".join(f"{owner}/{name}" for owner in owners)
        yield (
            f"gateway: {len(owners)} services have a model {name!r}; through the gateway it is"
            f" called {ways}"
        )


def ambiguous(services: Sequence[InferenceService]) -> dict[str, list[str]]:
    """The services that have a model of each name, where several have it."""
    owners: dict[str, list[str]] = {}
    for service in services:
        if service.spec.model:
            models = (service.metadata.name, *(adapter.name for adapter in service.spec.adapters))
            for name in models:
                owners.setdefault(name, []).append(service.metadata.name)
    return {name: found for name, found in owners.items() if len(found) > 1}


def _services(declared: Sequence[Declared], environment: str) -> list[Routed]:
    return [
        Routed(one, one.document)
        for one in declared
        if isinstance(one.document, InferenceService)
        and one.document.spec.environment == environment
    ]


def _named(one: Declared, gateway: Gateway, taken: Mapping[str, Declared]) -> Iterator[Problem]:
    name = gateway_name(one.name, gateway)
    at = (*AT, "name") if gateway.name else AT
    if not names.CONTAINER_APP.accepts(name):
        message = f"the gateway cannot be called {name!r}: a container app's name is shorter"
        yield one.problem(at, message, "name it: gateway: {name: gw}")
    elif other := taken.get(name):
        what = "service" if other.kind == "InferenceService" else "gateway of Environment"
        message = f"the gateway is called {name!r}, as is the {what} {other.name!r}"
        yield one.problem(at, message, "name it otherwise: gateway: {name: gw}")


def _models(one: Declared, gateway: Gateway, services: Sequence[Routed]) -> Iterator[Problem]:
    known: set[str] = set()
    for name, spec in ((each.name, each.service.spec) for each in services):
        known |= {name} if spec.model else set()
        for adapter in spec.adapters:
            known |= {adapter.name, f"{name}/{adapter.name}"}
    for fault in unknown_models(Auth(api_keys=gateway.api_keys), known):
        at = (*AT, *fault.at[2:])
        message = fault.message.replace("the service", "the Environment")
        yield one.problem(at, message, fault.hint)


def _fallbacks(one: Declared, gateway: Gateway, services: Sequence[Routed]) -> Iterator[Problem]:
    """Only services with a model of the same Environment, and their adapters, are behind the
    gateway. A fallback is another service: an adapter starts and fails with its service.
    """
    known: set[str] = set()
    for each in services:
        if each.service.spec.model:
            adapters = (f"{each.name}/{adapter.name}" for adapter in each.service.spec.adapters)
            known |= {each.name, *adapters}
    there = ", ".join(sorted(known)) or "none"
    for name, other in gateway.fallback.items():
        at, hint = (*AT, "fallback", name), f"behind this gateway: {there}"
        same = other.partition("/")[0] == name.partition("/")[0]
        if name not in known:
            what = "adapter" if "/" in name else "service"
            yield one.problem(at, f"there is no {what} {name!r} behind the gateway", hint)
        elif same or other not in known:
            why = "is of the same service" if same else "is not behind the gateway"
            yield one.problem(at, f"the fallback {other!r} of {name!r} {why}", hint)


def _keys(routed: Routed, environment: str) -> Iterator[Problem]:
    for index, key in enumerate(routed.service.spec.auth.api_keys):
        if key.name == GATEWAY_KEY:
            yield routed.declared.problem(
                ("spec", "auth", "apiKeys", index, "name"),
                f"the gateway of Environment {environment!r} uses the key {GATEWAY_KEY!r}",
                "choose another name",
            )
