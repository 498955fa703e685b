"""What composition is given besides the documents: digested folders, generations, and where
services run today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.api.adapters import Unfit
from reconciler.api.digest import Tree
from reconciler.api.engine_types import EngineType
from reconciler.api.hub import HubAccess, HubModel
from reconciler.api.resources import AdapterReturn, Order
from reconciler.api.source import Missing, SourceRef
from reconciler.engine.external import DocumentRef
from serving.catalogue import Expectation


@dataclass(frozen=True)
class Registered:
    """How an Environment's share is registered for mounts. `rotation` is the end of the name,
    `left` are the rotations and modes of registrations that a rotated key has left behind. `new`
    says that the share is registered under other names only so far.
    """

    rotation: str = ""
    left: tuple[tuple[str, str], ...] = ()
    new: bool = False


@dataclass(frozen=True)
class World:
    """All that composition knows besides the documents.

    trees, ranks: of local folders, by absolute path.
    converted: what replaces an adapter's tree in a service, with the engine's float type, by
        service and folder.
    unfit: the adapters that a service cannot serve, by service and folder.
    homes: the Environment where each service's app exists now, by the tags in Azure.
    registered: how each Environment's share can be mounted.
    fetched: the local folders of adapters from elsewhere, by source.
    models: what the hub says of models, by source. sizes: bytes of models on the share, by source.
    missing: why a source is in none of these three.
    evaluations: the cases, by file.
    orders: what a person decided, by service and adapter.
    rollbacks: the revision that must not serve and the one to serve instead, by service.
    promotions: the revision that may go on with its steps, and up to which weight, by service.
    returns: the earlier adapters to serve again, by service.
    secrets: the digest of each secret's value, or why there is none, by service and name.
    gateway: the runtime of gateways; None if no document asks for one.
    ca: the authority in PEM that signs endpoints, if it is not one of the system's.
    tenant, authority: who issues tokens for gateways whose document names no tenant.
    """

    subscription: str
    location: str
    owner_of: Callable[[str], str]
    runtime: Tree
    trees: Mapping[Path, Tree] = field(default_factory=dict)
    converted: Mapping[tuple[str, Path], tuple[EngineType, Tree]] = field(default_factory=dict)
    ranks: Mapping[Path, int] = field(default_factory=dict)
    unfit: Mapping[tuple[str, Path], Unfit] = field(default_factory=dict)
    generations: Mapping[DocumentRef, int] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    registered: Mapping[str, Registered] = field(default_factory=dict)
    fetched: Mapping[SourceRef, Path] = field(default_factory=dict)
    missing: Mapping[SourceRef, Missing] = field(default_factory=dict)
    models: Mapping[SourceRef, HubModel] = field(default_factory=dict)
    sizes: Mapping[SourceRef, int] = field(default_factory=dict)
    hub: HubAccess = field(default_factory=HubAccess)
    evaluations: Mapping[Path, tuple[Expectation, ...]] = field(default_factory=dict)
    orders: Mapping[tuple[str, str], Order] = field(default_factory=dict)
    rollbacks: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    rotations: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    gateway: Tree | Missing | None = None
    ca: str | None = None
    tenant: str = ""
    authority: str = ""
    promotions: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    secrets: Mapping[tuple[str, str], str | Missing] = field(default_factory=dict)
    returns: Mapping[str, AdapterReturn] = field(default_factory=dict)

    def generation(self, document: DocumentRef) -> int:
        return self.generations.get(document, 1)
