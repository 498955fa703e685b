"""Remembers what services expanded to, so that a save of one document does not expand a thousand
again. Used by `compose`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from reconciler.api.documents import InferenceService
from reconciler.composition.service import ServiceComposer
from reconciler.composition.surroundings import Surroundings
from reconciler.composition.world import World
from reconciler.engine.external import Desired, DocumentRef

_FOLDERS = ("trees", "converted", "ranks", "unfit")  # what the world knows of each local folder
_ABSENT: Any = object()


class _Noted(Mapping[Any, Any]):
    """A mapping that notes what was read of it."""

    def __init__(self, inner: Mapping[Any, Any]) -> None:
        self._inner = inner
        self.read: dict[Any, Any] = {}

    def __getitem__(self, key: Any) -> Any:
        found = self.read[key] = self._inner.get(key, _ABSENT)
        if found is _ABSENT:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a service asks for its own folders, so that others are none of its own")

    def __len__(self) -> int:
        return len(self._inner)


class _Known(NamedTuple):
    service: InferenceService
    place: Surroundings
    generation: int
    read: tuple[dict[Any, Any], ...]  # of each of _FOLDERS
    desired: list[Desired]

    def holds(
        self, service: InferenceService, place: Surroundings, generation: int, world: World
    ) -> bool:
        same = (self.service, self.place, self.generation) == (service, place, generation)
        return same and all(
            getattr(world, name).get(key, _ABSENT) == value
            for name, read in zip(_FOLDERS, self.read, strict=True)
            for key, value in read.items()
        )


class Expansions:
    """An expansion is reused while the document, its surroundings, the folders that it reads and
    the rest of the world are the same. Each `begin` forgets what the last composition did not ask
    for.
    """

    def __init__(self) -> None:
        self._world: World | None = None
        self._before: dict[str, _Known] = {}
        self._known: dict[str, _Known] = {}

    def begin(self, world: World) -> None:
        """Begin a composition in `world`. Its generations and folders are compared service by
        service.
        """
        rest = replace(world, generations={}, trees={}, converted={}, ranks={}, unfit={})
        self._before = self._known if rest == self._world else {}
        self._world, self._known = rest, {}

    def expand(self, service: InferenceService, place: Surroundings, world: World) -> list[Desired]:
        """Raises SourceMissingError as `ServiceComposer` does; that is not remembered."""
        name = service.metadata.name
        generation = world.generation(DocumentRef("InferenceService", name))
        known = self._before.get(name)
        if known is None or not known.holds(service, place, generation, world):
            known = _expand(service, place, generation, world)
        self._known[name] = known
        return known.desired


def _expand(
    service: InferenceService, place: Surroundings, generation: int, world: World
) -> _Known:
    noted = [_Noted(getattr(world, each)) for each in _FOLDERS]
    trees, converted, ranks, unfit = noted
    reading = replace(world, trees=trees, converted=converted, ranks=ranks, unfit=unfit)
    desired = ServiceComposer(service, place, reading).expand()
    return _Known(service, place, generation, tuple(each.read for each in noted), desired)
