"""Turns a snapshot of the sources (disk, share, hub, and the resources that are ours in Azure) into
one `Intended` with the desired objects. `daemon` hands it to the loop; `edges` call `load`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from reconciler.api.documents import AnyDocument, Environment
from reconciler.api.gateway_references import gateway_notes
from reconciler.api.hub import HubAccess
from reconciler.api.loaded import Loaded
from reconciler.api.problems import ManifestError
from reconciler.api.reasons import Reason
from reconciler.api.source import SourceRef
from reconciler.arm.clients import Arm
from reconciler.arm.concurrency import beside
from reconciler.arm.ownership import Ownership
from reconciler.composition import Composition, compose, names_in
from reconciler.composition.environment import share_of
from reconciler.composition.expansions import Expansions
from reconciler.composition.world import World
from reconciler.engine.document_state import DocumentRefusal, DocumentState
from reconciler.engine.errors import ReconcileError
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import Desired, DocumentRef, Gone, ObjectKey
from reconciler.engine.store import Store
from reconciler.kinds.catalogue.adapter_history import asked_set
from reconciler.kinds.share.shares import Shares
from reconciler.registrations import Registrations
from reconciler.settings import Settings
from reconciler.sources import owned, sets
from reconciler.sources.documents import DocumentSource, Snapshot
from reconciler.sources.generations import Generations
from reconciler.sources.git import in_repository
from reconciler.sources.orders import (
    end_orders,
    orders_of,
    promotions_of,
    returns_of,
    rollbacks_of,
    rotations_of,
)
from reconciler.sources.pauses import with_pauses
from reconciler.sources.policy import with_sync_policy
from reconciler.sources.remote import Fetched, RemoteSources

log = structlog.get_logger(__name__)
Seen = Callable[[], Mapping[ObjectKey, Mapping[str, Any]]]


@dataclass(frozen=True)
class Intended:
    """The result of a snapshot: the desired objects, what the loop must know of each document, and
    the objects that may go.
    """

    snapshot: Snapshot
    composition: Composition
    desired: Sequence[Desired]
    documents: Sequence[DocumentState]
    orphans: Sequence[Desired | Gone]


class Intake:
    """`seen` gives what the loop last saw of each object; `apply` takes each `Intended`, in the
    order in which the sources were read.
    """

    def __init__(
        self,
        settings: Settings,
        ownership: Ownership,
        store: Store,
        source: DocumentSource,
        remote: RemoteSources,
        registrations: Registrations,
        arm: Arm,
        shares: Shares,
        seen: Seen,
        apply: Callable[[Intended], None],
        tell: Callable[[Event], None],
    ) -> None:
        self._settings, self._ownership, self._store = settings, ownership, store
        self._source, self._remote = source, remote
        self._registrations = registrations
        self._arm, self._shares = arm, shares
        self._seen, self._apply, self._tell = seen, apply, tell
        self._owned: Sequence[owned.Owned] | None = None
        self.aged = asyncio.Event()  # set when what is ours should be listed again
        self._loading = asyncio.Lock()
        self._refused: Mapping[SourceRef, Mapping[str, str]] = {}
        self.composition = Composition(())
        self._expansions = Expansions()
        self._generations = Generations(store)
        self.snapshot: Snapshot | None = None

    async def load(self) -> Composition:
        """Read everything again.

        Raises:
            ManifestError: the documents cannot be used; the last good ones keep running.
            ReconcileError: Azure does not say what must be known first.
        """
        async with self._loading:  # an older reading must not come after a newer one
            snapshot = await self._source.read(self._fetch)
            if self._owned is None or self._places_new(snapshot):
                await self._refresh_owned()
            elif self.snapshot and snapshot.manifest.digest != self.snapshot.manifest.digest:
                self.aged.set()  # listed later: a save must not wait for ten pages of apps
            self._store.put("problems", None)
            return self._take(snapshot)

    async def register_again(self) -> None:
        """Register shares again after a rotation of a storage key, or look whether that is needed.
        It uses the documents that were last read, so a broken save does not prevent it.
        """
        async with self._loading:
            if self.snapshot is not None:
                before = {**self._registrations.found}
                await self._look_at_registrations(self.snapshot.manifest.documents)
                if self._registrations.found != before:
                    self._take(self.snapshot)

    def suppose(self, documents: Sequence[Loaded]) -> Composition:
        """The composition if the documents were these, with their folders as last read."""
        if self.snapshot is None:
            raise ValueError("nothing was read yet")
        manifest = replace(self.snapshot.manifest, documents=tuple(documents))
        return self._take(replace(self.snapshot, manifest=manifest))

    async def look_for_owned(self, *, data: bool = False) -> Sequence[Gone]:
        """List the resources that are ours; with `data` also those that hold data. Returns the
        objects that may go.
        """
        self.aged.clear()
        try:
            listed = await owned.list_owned(self._arm, data=data)
        except ReconcileError:
            self.aged.set()
            raise
        self._owned = [each.marked() for each in listed]
        return self._orphans()

    def reject(self, error: ManifestError) -> None:
        """Report a bad save; the last good version keeps running."""
        text = in_repository(str(error))
        if self._store.get("problems") == text:
            return
        self._store.put("problems", text)
        log.error("documents rejected; the last good version keeps running", problems=text)
        file = str(error.problems[0].file) if error.problems else ""
        place = DocumentRef("Manifest", in_repository(file))
        self._tell(warning(Reason.INVALID_DOCUMENT, text, place, place))

    def remote_documents(self) -> tuple[DocumentRef, ...]:
        """The documents that name a source on a share or a hub."""
        named = self.snapshot.fetched.documents.values() if self.snapshot else ()
        return tuple(dict.fromkeys(ref for refs in named for ref in refs))

    def is_missing(self) -> bool:
        """Whether a source from elsewhere could not be brought, or cannot be served."""
        if self.snapshot is None:
            return False
        fetched = self.snapshot.fetched
        unfit = {folder for _, folder in self.snapshot.unfit}
        return bool(fetched.missing or unfit.intersection(fetched.folders.values()))

    def unfit(self) -> dict[DocumentRef, str]:
        """Why a service runs without some of its adapters."""
        said: dict[DocumentRef, list[str]] = {}
        for (name, _), each in self.snapshot.unfit.items() if self.snapshot else ():
            said.setdefault(_service(name), []).append(each.why)
        return {service: "; ".join(why) for service, why in said.items()}

    def _take(self, snapshot: Snapshot) -> Composition:
        before = self.composition.refusals
        sets.follow(self._ownership, snapshot.manifest.documents, self._store)
        last, self.snapshot = self.snapshot, snapshot
        self.composition = self._compose(snapshot)
        for event in (
            *_changes(before, self.composition.refusals),
            *_unfit(snapshot, last),
            *_ambiguous(snapshot, last),
        ):
            self._tell(event)
        documents = snapshot.manifest.documents
        end_orders(self.composition.desired, self._store, asked_set)
        intended = Intended(
            snapshot,
            self.composition,
            with_pauses(
                with_sync_policy(list(self.composition.desired), documents, self._store),
                self._store,
            ),
            self._states(documents),
            [*([] if self.aged.is_set() else self._orphans()), *self.composition.left],
        )
        self._apply(intended)
        for event in self._registrations.events(self.composition.names):
            self._tell(event)
        return self.composition

    def _orphans(self) -> Sequence[Gone]:
        return owned.orphans(self._owned or (), self._ownership)

    def _places_new(self, snapshot: Snapshot) -> bool:
        """Whether a service is new or names another Environment than before. Then it must be known
        where its container app lives.
        """
        last = self.snapshot.manifest.documents if self.snapshot else ()
        places = ({*map(_place, of)} for of in (snapshot.manifest.documents, last))
        return not next(places) <= next(places)

    async def _refresh_owned(self) -> None:
        """List what is ours again. If Azure does not answer, use its last answer, so that a save is
        not lost.
        """
        try:
            await self.look_for_owned()
        except ReconcileError as error:
            if self._owned is None:
                raise
            log.warning(
                "what is ours could not be listed", reason=error.reason, message=error.message
            )

    async def _look_at_registrations(
        self, documents: Sequence[Loaded], *, only_new: bool = False
    ) -> None:
        names = names_in(documents, self._settings.subscription_id, self._settings.location)
        await self._registrations.look(names.values(), self._seen(), only_new=only_new)

    async def _fetch(self, documents: Sequence[Loaded]) -> Fetched:
        # What lies on a share is read before these documents are taken, and may be theirs.
        sets.declare(self._ownership, documents)
        names = names_in(documents, self._settings.subscription_id, self._settings.location)
        shares = {name: self._shares.open(share_of(each)) for name, each in names.items()}
        found = await beside(
            self._remote.fetch(documents, shares),
            self._look_at_registrations(documents, only_new=True),
        )
        for event in _refusals(found, self._refused):
            self._tell(event)
        self._refused = found.refused
        return found

    def _compose(self, snapshot: Snapshot) -> Composition:
        documents, settings = snapshot.manifest.documents, self._settings
        world = World(
            subscription=settings.subscription_id,
            location=settings.location,
            owner_of=self._ownership.owner_of,
            runtime=snapshot.runtime,
            trees=snapshot.trees,
            converted=snapshot.converted,
            ranks=self._ranks(snapshot),
            unfit=snapshot.unfit,
            generations=self._generations.count(documents),
            homes=owned.homes(self._owned or (), self._ownership),
            registered=self._registrations.found,
            fetched=snapshot.fetched.folders,
            missing=snapshot.fetched.missing,
            models=snapshot.fetched.models,
            sizes=snapshot.fetched.sizes,
            hub=HubAccess(settings.hf_endpoint, bool(settings.hf_token)),
            evaluations=snapshot.evaluations,
            orders=orders_of(documents, self._store),
            rollbacks=rollbacks_of(documents, self._store),
            rotations=rotations_of(documents, self._store),
            gateway=snapshot.gateway,
            ca=settings.ca_file.read_text("utf-8") if settings.ca_file else None,
            tenant=settings.tenant_id,
            authority=settings.authority,
            promotions=promotions_of(documents, self._store),
            secrets=snapshot.secrets,
            returns=returns_of(documents, self._store),
        )
        return compose(documents, world, self._expansions)

    def _ranks(self, snapshot: Snapshot) -> dict[Path, int]:
        """Of each adapter; of one that cannot be served the rank of the version before it, so that
        a bad version does not change the engine that serves the others.
        """
        known: dict[str, int] = json.loads(self._store.get("ranks") or "{}")
        ranks, folders = dict(snapshot.ranks), snapshot.fetched.folders
        fit = {str(one): rank for one, rank in ranks.items() if one not in folders.values()}
        fit |= {_key(ref): ranks[folder] for ref, folder in folders.items() if folder in ranks}
        if known != known | fit:
            self._store.put("ranks", json.dumps(known | fit, sort_keys=True))
        for _, folder in snapshot.unfit:
            keys = [_key(ref) for ref, fetched_to in folders.items() if fetched_to == folder]
            for key in keys or [str(folder)]:
                if key in known:
                    ranks.setdefault(folder, known[key])
        return ranks

    def _states(self, documents: Sequence[Loaded]) -> list[DocumentState]:
        """What the loop must know of each document, implicit Environments included."""
        prune = {
            loaded.document.metadata.name: loaded.document.spec.sync_policy.prune
            for loaded in documents
            if isinstance(loaded.document, Environment)
        }
        generations, states = self._generations.count(documents), []
        for loaded in documents:
            ref, scope = _ref(loaded.document), _scope(loaded.document)
            refusal = self.composition.refusals.get(ref)
            states.append(
                DocumentState(ref, generations[ref], scope, prune.get(scope, False), refusal)
            )
        return [*states, *self._left_alone({state.ref for state in states})]

    def _left_alone(self, listed: Collection[DocumentRef]) -> Iterator[DocumentState]:
        """Refused Environments that no document declares: their objects stay as they are."""
        refusals = {
            ref: refusal for ref, refusal in self.composition.refusals.items() if ref not in listed
        }
        rows = {row.ref: row for row in self._store.documents()} if refusals else {}
        for ref, refusal in refusals.items():
            if ref in rows:
                yield DocumentState(
                    ref, rows[ref].generation, ref.name, prune=False, refusal=refusal
                )


def _changes(
    before: Mapping[DocumentRef, DocumentRefusal], now: Mapping[DocumentRef, DocumentRefusal]
) -> Iterator[Event]:
    """An event for each document that is refused for another reason than before, or is no longer
    refused. One that only waits for its source needs none.
    """
    for ref, refusal in now.items():
        if before.get(ref) != refusal and not refusal.waits:
            yield warning(refusal.reason, refusal.message, ref, ref)
    for ref, refusal in before.items():
        if ref not in now and not refusal.waits:
            yield normal(Reason.RECOVERED, f"{ref} is followed again", ref, ref)


def _unfit(now: Snapshot, before: Snapshot | None) -> Iterator[Event]:
    """An event for each adapter whose service cannot serve it, for another reason than before."""
    # `_refusals` reports what was passed over.
    told = {folder for ref, folder in now.fetched.folders.items() if ref in now.fetched.refused}
    for (name, folder), unfit in now.unfit.items():
        if folder not in told and (before is None or before.unfit.get((name, folder)) != unfit):
            yield warning(Reason.ADAPTER_FAILED, unfit.why, _service(name), _service(name))


def _ambiguous(now: Snapshot, before: Snapshot | None) -> Iterator[Event]:
    """An event for each name that a gateway cannot route by itself, unless it was told before."""
    told = set(_notes(before)) if before else set()
    for document, note in _notes(now):
        if (document, note) not in told:
            yield warning(Reason.AMBIGUOUS_MODEL, note, document, document)


def _notes(snapshot: Snapshot) -> Iterator[tuple[DocumentRef, str]]:
    documents = snapshot.manifest.documents
    for loaded in documents:
        yield from ((_ref(loaded.document), note) for note in gateway_notes(loaded, documents))


def _refusals(found: Fetched, before: Mapping[SourceRef, Mapping[str, str]]) -> Iterable[Event]:
    """An event for each adapter that was passed over, for each document that names its source."""
    for ref, refused in found.refused.items():
        for path, why in refused.items():
            if before.get(ref, {}).get(path) != why:
                for document in found.documents[ref]:
                    message = f"{path} is not served: {why}"
                    yield warning(Reason.ADAPTER_FAILED, message, document, document)


def _key(ref: SourceRef) -> str:
    return f"{ref.environment} {ref.text} {ref.service}"


def _service(name: str) -> DocumentRef:
    return DocumentRef("InferenceService", name)


def _ref(document: AnyDocument) -> DocumentRef:
    return DocumentRef(document.kind, document.metadata.name)


def _scope(document: AnyDocument) -> str:
    return (
        document.metadata.name if isinstance(document, Environment) else document.spec.environment
    )


def _place(loaded: Loaded) -> tuple[DocumentRef, str]:
    return _ref(loaded.document), _scope(loaded.document)
