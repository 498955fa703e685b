"""What composition is given besides the documents: digested folders, generations, and where
services run today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.api.digest import Tree
from reconciler.api.engine_types import EngineType
from reconciler.api.hub import HubAccess, HubModel
from reconciler.api.resources import AdapterReturn, Order
from reconciler.api.source import Missing, SourceRef
from reconciler.engine.external import DocumentRef
from serving.catalogue import Expectation


@dataclass(frozen=True)
class Registered:
    """How an Environment's share is registered for mounts: `rotation` is what the name ends in,
    `left` are the rotations and modes of what the account's key has left behind; `new` says that
    the share has only other names yet.
    """

    rotation: str = ""
    left: tuple[tuple[str, str], ...] = ()
    new: bool = False


@dataclass(frozen=True)
class World:
    """`trees` and `ranks` are keyed by absolute folder; `converted` has what takes the place of an
    adapter's tree in a service, with the engine's float type, by service and folder; `homes` says
    in which Environment a service's app exists now, by the tags in Azure, and `registered` how each
    Environment's share can be mounted; `fetched` has the folders here of adapters from elsewhere,
    `models` what the hub says of models, `sizes` the bytes of models on the share, all by source,
    and `missing` why a source is in neither; `evaluations` holds the cases by file, `orders` what a
    person decided, by service and adapter, and `rollbacks` the revision that is not to serve and
    the one that is to, by service; `promotions` has the revision that may go on with its steps and
    the weight up to which it may, by service, and `returns` the earlier adapters that are to serve;
    `secrets` the digest of each secret's value by service and name, or why there is none. `gateway`
    is the runtime of gateways, None where none is asked for, and `ca` the authority in PEM that
    signs endpoints where the system's own do not; `tenant` issues tokens at `authority` for
    gateways whose document names none.
    """

    subscription: str
    location: str
    owner_of: Callable[[str], str]
    runtime: Tree
    trees: Mapping[Path, Tree] = field(default_factory=dict)
    converted: Mapping[tuple[str, Path], tuple[EngineType, Tree]] = field(default_factory=dict)
    ranks: Mapping[Path, int] = field(default_factory=dict)
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
