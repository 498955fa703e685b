"""Which service a name in a request means, and which names a caller may use. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from serving.gateway.routes import GatewayRoutes, RoutedModel, RoutedService


@dataclass(frozen=True)
class Target:
    """`name` is how callers ask for it, `model` what the service calls it."""

    name: str
    service: RoutedService
    model: RoutedModel

    @property
    def qualified(self) -> str:
        return f"{self.service.name}/{self.model.name}"


class Directory:
    """All names of a gateway's routes. `service/model` always works. A name that two services have
    works only for a key that is limited to one of them.
    """

    def __init__(self, routes: GatewayRoutes) -> None:
        self.services = {service.name: service for service in routes.services}
        seen = Counter(
            model.name
            for service in routes.services
            for model in {m.name: m for m in service.models}.values()
        )
        self._names: dict[str, Target] = {}
        self._listed: list[Target] = []
        for service in routes.services:
            for model in service.models:
                qualified = f"{service.name}/{model.name}"
                name = model.name if seen[model.name] == 1 else qualified
                self._listed.append(Target(name, service, model))
                for alias in (name, qualified, *model.aliases):
                    self._names.setdefault(alias, Target(name, service, model))

    def find(self, name: str, within: str | None = None) -> Target | None:
        """The target of a name for a caller who may use one service, or all of them."""
        found = self._names.get(name)
        if within is None:
            return found
        if found is not None and found.service.name == within:
            return found
        inside = self._names.get(f"{within}/{name}")
        return inside if inside is not None and inside.service.name == within else None

    def fallback(
        self, target: Target, within: str | None, models: frozenset[str] | None
    ) -> Target | None:
        """The target that answers while this one cannot, if the caller may use it by its own name
        too: a fallback opens nothing that the key does not.
        """
        name = target.model.fallback or target.service.fallback
        if name is None:
            return None
        service, _, model = name.partition("/")
        base = base_of(self.services[service]) if service in self.services else None
        model = model or (base.name if base else "")
        found = self.find(f"{service}/{model}", within)
        return found if found is not None and allowed(found, models) else None

    def listed(self, within: str | None, models: frozenset[str] | None) -> Iterator[Target]:
        """Each model once, under the name that callers use."""
        for target in self._listed:
            if within in (None, target.service.name) and allowed(target, models):
                yield target


def allowed(target: Target, models: frozenset[str] | None) -> bool:
    """A key may name a model as the document does, as callers do, or by a further name."""
    return models is None or not models.isdisjoint(
        {target.name, target.model.name, target.qualified} | set(target.model.aliases)
    )


def base_of(service: RoutedService) -> RoutedModel | None:
    """The model that stands for the service as a whole."""
    return next((model for model in service.models if model.kind == "base"), None) or next(
        iter(service.models), None
    )
