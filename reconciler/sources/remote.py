"""Sources that are not on this machine: adapters of the share (`mirror`) and of a hub (`hub`). They
become folders in the cache, which are then treated like local ones: hashed, checked, published.
Models stay where they are; only their size is read (`model_sizes`, `hub`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from reconciler.api.digest import TreeError
from reconciler.api.documents import InferenceService
from reconciler.api.hub import HubModel
from reconciler.api.loaded import Loaded
from reconciler.api.reasons import Reason
from reconciler.api.source import NEWEST, Missing, Source, SourceKind, SourceRef, parse_source
from reconciler.arm.share import Share
from reconciler.engine.errors import NotReadyYet, ReconcileError
from reconciler.engine.external import DocumentRef
from reconciler.sources.hub import HubSources
from reconciler.sources.mirror import Mirror
from reconciler.sources.model_sizes import ModelSizes
from reconciler.sources.quiet_period import QuietPeriod

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A source from elsewhere that a document names."""

    ref: SourceRef
    source: Source
    loaded: Loaded
    is_model: bool

    @property
    def document(self) -> DocumentRef:
        return DocumentRef(self.loaded.document.kind, self.loaded.document.metadata.name)


@dataclass(frozen=True)
class Fetched:
    """What one look at the sources found: the local `folders` of adapters, what the hub says of
    `models`, the bytes of models on the share (`sizes`), why other sources are `missing`, and the
    adapters that were `refused`, by source and path on the share. `documents` are the documents
    that name each source.
    """

    folders: Mapping[SourceRef, Path] = field(default_factory=dict)
    models: Mapping[SourceRef, HubModel] = field(default_factory=dict)
    sizes: Mapping[SourceRef, int] = field(default_factory=dict)
    missing: Mapping[SourceRef, Missing] = field(default_factory=dict)
    refused: Mapping[SourceRef, Mapping[str, str]] = field(default_factory=dict)
    documents: Mapping[SourceRef, tuple[DocumentRef, ...]] = field(default_factory=dict)


class RemoteSources:
    """Call `fetch` again whenever `arrived` is set. `endpoint` empty means the public hub."""

    def __init__(
        self, cache: Path, endpoint: str = "", token: str = "", *, quiet: float = 10.0
    ) -> None:
        self.arrived = asyncio.Event()
        self.hub = HubSources(cache, endpoint, token, self.arrived.set)
        self.quiet_period = QuietPeriod(quiet)
        self.mirror = Mirror(cache, self.arrived.set, self.quiet_period)
        self.model_sizes = ModelSizes(cache, self.arrived.set, self.quiet_period)

    async def fetch(self, documents: Sequence[Loaded], shares: Mapping[str, Share]) -> Fetched:
        """All that has arrived by now. An error concerns its own source alone.

        `shares` are the Environments' shares by name. A hub is asked once per revision; a folder of
        a share is read again whenever its listing changes.
        """
        found = _Round()
        naming: dict[SourceRef, list[DocumentRef]] = {}
        done = set()
        for each in wanted_of(documents):
            naming.setdefault(each.ref, []).append(each.document)
            if (each.ref, each.is_model) in done:
                continue
            done.add((each.ref, each.is_model))
            try:
                await self._one(each, shares, found)
            except Exception as error:  # noqa: BLE001 - it must cost this source only
                found.missing[each.ref] = missing_for(each.ref, error)
        documents_of = {ref: tuple(dict.fromkeys(those)) for ref, those in naming.items()}
        return Fetched(
            found.folders, found.models, found.sizes, found.missing, found.refused, documents_of
        )

    async def close(self) -> None:
        await self.hub.close()

    async def _one(self, wanted: Wanted, shares: Mapping[str, Share], found: _Round) -> None:
        ref, source = wanted.ref, wanted.source
        if wanted.is_model and source.kind is SourceKind.SHARE:
            share = shares[ref.environment]
            found.sizes[ref] = await self.model_sizes.size(share, source.path)
        elif wanted.is_model:
            found.models[ref] = self.hub.model(source)
        elif source.kind is SourceKind.HUB:
            found.folders[ref] = self.hub.adapter(source)
        elif not ref.text.endswith(NEWEST):
            found.folders[ref] = await self.mirror.folder(shares[ref.environment], source.path)
        else:
            below = source.path.removesuffix(NEWEST)
            newest = await self.mirror.newest(ref, shares[ref.environment], below, wanted.loaded)
            found.refused[ref] = newest.refused
            if newest.folder is None:
                found.missing[ref] = Missing(newest.reason, f"{ref}: {newest.why}", newest.waits)
            else:
                found.folders[ref] = newest.folder


@dataclass
class _Round:
    """What one `fetch` has found so far."""

    folders: dict[SourceRef, Path] = field(default_factory=dict)
    models: dict[SourceRef, HubModel] = field(default_factory=dict)
    sizes: dict[SourceRef, int] = field(default_factory=dict)
    missing: dict[SourceRef, Missing] = field(default_factory=dict)
    refused: dict[SourceRef, Mapping[str, str]] = field(default_factory=dict)


def missing_for(ref: SourceRef, error: Exception) -> Missing:
    """The reason and sentence for a source that cannot be brought here or read."""
    if isinstance(error, ReconcileError):
        return Missing(error.reason, f"{ref}: {error.message}", isinstance(error, NotReadyYet))
    if isinstance(error, TreeError):
        return Missing(Reason.SOURCE_UNREADABLE, f"{ref}: {error.said}")
    if isinstance(error, OSError):
        what = f"it cannot be kept in the cache ({error.strerror or type(error).__name__})"
        return Missing(Reason.SOURCE_UNREADABLE, f"{ref}: {what}")
    log.error("a source failed unexpectedly", source=str(ref), exc_info=error)
    what = f"unexpected {type(error).__name__}; the log has the details"
    return Missing(Reason.INTERNAL_ERROR, f"{ref}: {what}")


def wanted_of(documents: Sequence[Loaded]) -> Iterator[Wanted]:
    """The sources from elsewhere, without code and mounts on the share: those stay there."""
    for loaded in documents:
        if not isinstance(loaded.document, InferenceService):
            continue
        name, environment = loaded.document.metadata.name, loaded.document.spec.environment
        for path, text in loaded.sources():
            source = parse_source(text)
            adapter = path[:2] == ("spec", "adapters")
            there = adapter or path[:2] == ("spec", "model")
            if source.kind is SourceKind.HUB or (source.kind is SourceKind.SHARE and there):
                yield Wanted(SourceRef.of(environment, text, name), source, loaded, not adapter)
