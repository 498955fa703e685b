"""Remembers what services expanded to, so that a save of one document does not expand a thousand
again. Used by `compose`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from reconciler.api.documents import InferenceService
from reconciler.composition.service import ServiceComposer
from reconciler.composition.surroundings import Surroundings
from reconciler.composition.world import World
from reconciler.engine.external import Desired, DocumentRef


class _Known(NamedTuple):
    service: InferenceService
    place: Surroundings
    generation: int
    desired: list[Desired]


class Expansions:
    """An expansion is reused while the document, its surroundings and the world are the same. Each
    `begin` forgets what the last composition did not ask for.
    """

    def __init__(self) -> None:
        self._world: World | None = None
        self._before: dict[str, _Known] = {}
        self._known: dict[str, _Known] = {}

    def begin(self, world: World) -> None:
        """Begin a composition in `world`. Its generations are compared service by service."""
        rest = replace(world, generations={})
        self._before = self._known if rest == self._world else {}
        self._world, self._known = rest, {}

    def expand(self, service: InferenceService, place: Surroundings, world: World) -> list[Desired]:
        """Raises SourceMissingError as `ServiceComposer` does; that is not remembered."""
        name = service.metadata.name
        generation = world.generation(DocumentRef("InferenceService", name))
        known = self._before.get(name)
        if known is None or (known.service, known.place, known.generation) != (
            service,
            place,
            generation,
        ):
            desired = ServiceComposer(service, place, world).expand()
            known = _Known(service, place, generation, desired)
        self._known[name] = known
        return known.desired
