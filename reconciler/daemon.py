"""The composition root: builds everything, runs it in one task group, and drains it at a signal.

Disk -> `sources.documents` -> `composition` -> `engine.controller` -> `kinds` -> `arm` -> Azure.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import structlog

from reconciler import supervision
from reconciler.api import resources
from reconciler.api.documents import Environment
from reconciler.api.hub import HubAccess
from reconciler.api.kinds import Kind
from reconciler.api.loaded import Loaded
from reconciler.api.problems import ManifestError
from reconciler.api.reasons import Reason
from reconciler.api.source import SourceRef
from reconciler.arm.clients import Arm
from reconciler.arm.concurrency import beside
from reconciler.composition import Composition, compose, names_in
from reconciler.composition.environment import share_of
from reconciler.composition.world import World
from reconciler.engine.controller import Controller, Watcher
from reconciler.engine.errors import NotReadyYet, ReconcileError
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import DocumentRef, Identity, ObjectKey, Policy, with_spec
from reconciler.engine.ledger import DocumentState
from reconciler.engine.permit import permit
from reconciler.engine.plan import PlanLine
from reconciler.engine.queue import Priority
from reconciler.engine.result import Outcome, Pacing
from reconciler.engine.store import Store
from reconciler.kinds import kinds_for
from reconciler.kinds.garbage import Garbage
from reconciler.kinds.shares import Shares
from reconciler.leadership import Leadership
from reconciler.lock import FolderLock
from reconciler.memory import keep_small
from reconciler.registrations import Registrations
from reconciler.settings import Settings
from reconciler.sources import owned
from reconciler.sources.documents import DocumentSource, Snapshot
from reconciler.sources.files import FileSource
from reconciler.sources.orders import orders_of
from reconciler.sources.policy import with_sync_policy
from reconciler.sources.remote import Fetched, RemoteSources
from reconciler.toolkit.config_file import ConfigFiles
from reconciler.web.metrics import Metrics
from reconciler.web.server import WebServer
from reconciler.web.status import status_of

log = structlog.get_logger(__name__)

OWNED_EVERY = 600.0  # seconds between looks for resources of ours that nobody asks for
GARBAGE_EVERY = 3600.0
APPROVAL_EVERY = 0.5
RELOAD_EVERY = 2.0
KEYS_EVERY = 0.2  # a look costs no call
DRAIN = 10.0


class Daemon:
    """One target, one set of documents. Use as an async context manager, then `run`, `plan` or
    drive it step by step.
    """

    def __init__(
        self,
        settings: Settings,
        files: Sequence[Path],
        *,
        store: Store | None = None,
        pacing: Pacing | None = None,
        watcher: Watcher | None = None,
        listen: tuple[str, int] | None = None,
    ) -> None:
        self.settings = settings
        self.source = DocumentSource(files, settings.state_dir / "cache")
        self.files = FileSource(files, self.source.stats)
        self.store = store or Store.open(settings.daemon_dir / "state.db", settings.target_key)
        self.pacing = pacing or Pacing(resync=settings.resync)
        self.watcher = watcher
        self.listen = listen
        self.remote = RemoteSources(
            settings.state_dir / "cache", settings.hf_endpoint, settings.hf_token
        )
        self.configs = ConfigFiles(settings.subscription_id)
        self.composition = Composition(())
        self._owned: list[owned.Owned] | None = None
        self._snapshot: Snapshot | None = None
        self._loading = asyncio.Lock()
        self._approved = self.store.get("approvals")
        self._refused: Mapping[SourceRef, Mapping[str, str]] = {}

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self.arm = await self._stack.enter_async_context(Arm(self.settings))
        self.shares = Shares(self.arm)
        self.kinds = kinds_for(self.arm, self.settings.owner_of, self.shares)
        self.registrations = Registrations(self.arm, self.shares)
        self.leadership = Leadership(self.shares, self.settings.daemon_dir, self._tell)
        self.metrics = Metrics(self.arm.calls)
        if self.listen:
            await self._stack.enter_async_context(
                WebServer(
                    *self.listen,
                    self.status,
                    self.metrics,
                    self.leadership.leading,
                    self.settings.web_token,
                )
            )
        self.controller = Controller(
            self.kinds.values(),
            self.store,
            why_not=self._why_not,
            pacing=self.pacing,
            watch=self._saw,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for kind in self.kinds.values():
            if (close := getattr(kind, "close", None)) is not None:
                await close()
        await self.remote.close()
        await self.leadership.release()
        await self._stack.aclose()
        self.store.close()

    def status(self) -> dict[str, Any]:
        """The status as `moorage status -o json` prints it."""
        return status_of(
            self.store, self.settings.target_title, {"running": True, "pid": os.getpid()}
        )

    def _why_not(self, identity: Identity) -> ReconcileError | None:
        """A registered share whose key has just been rotated is about to be left for another: it is
        no drift to put right.
        """
        if identity.key.kind == Kind.STORAGE and self.registrations.outdated():
            message = "the key it was registered with was rotated; the share is registered anew"
            return NotReadyYet(Reason.STORAGE_KEY_ROTATED, message)
        return self.leadership.why_not(identity.scope)

    def _tell(self, event: Event) -> None:
        self.store.add_event(event, time.time())

    def _saw(self, key: ObjectKey, outcome: Outcome, seconds: float) -> None:
        self.metrics.saw(key.kind, outcome.phase.value, seconds)
        self.configs.saw(key, outcome)
        if self.watcher:
            self.watcher(key, outcome, seconds)

    async def load(self) -> Composition:
        """Read the disk and hand the desired set to the loop.

        Raises:
            ManifestError: the documents cannot be used; the last good ones keep running.
        """
        async with self._loading:  # an older reading must not come after a newer one
            self._snapshot = await beside(self.source.read(self._fetch), self._refresh_owned())
            self.store.put("problems", None)
            return self._take_over(self._snapshot)

    def _take_over(self, snapshot: Snapshot) -> Composition:
        self.composition = self._compose(snapshot)
        documents, desired = self._documents(snapshot), list(self.composition.desired)
        digests = {folder: tree.digest for folder, tree in snapshot.trees.items()}
        self.files.set_watched(snapshot.manifest.folders, digests, snapshot.manifest.files)
        self.leadership.follow(self.composition)
        self.configs.follow(snapshot.manifest.documents, self.composition.names)
        wanted = with_sync_policy(desired, snapshot.manifest.documents, self.store)
        self.controller.set_desired(wanted, documents)
        self.controller.set_orphans([*owned.orphans(self._owned or ()), *self.composition.left])
        self._let_go(
            {
                item.key.name
                for item in wanted
                if item.key.kind == Kind.ENVIRONMENT and item.policy is Policy.MANAGE
            }
        )
        return self.composition

    def _let_go(self, environments: Collection[str]) -> None:
        """Registered shares whose place others have taken: nothing is lost with them, so no person
        need be asked for each.
        """
        for event in self.registrations.events(self.composition.names):
            self.store.add_event(event, time.time())
        for key in self.controller.approvable():
            if key.kind == Kind.STORAGE and key.name.split("/")[0] in environments:
                self.store.approve(key, "delete")

    async def abandon(self, *, data: bool) -> None:
        """Want nothing any more: everything that is ours is to go, by what is remembered and by
        Azure's own tags.
        """
        self._owned = await owned.list_owned(self.arm, data=data)
        self.controller.set_desired([], [], purge=data)
        self.controller.set_orphans(owned.orphans(self._owned))

    async def plan(self) -> tuple[PlanLine, ...]:
        """What a run would do, with the same code that does it."""
        await self.load()
        return await self.controller.plan()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch and reconcile until `stop`."""
        self.settings.daemon_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self.leadership.stand()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.controller.run()),
                group.create_task(self.leadership.run()),
                group.create_task(self._follow_files(stop)),
                group.create_task(self._follow_approvals()),
                group.create_task(self._look_for_orphans()),
                group.create_task(self._collect_garbage()),
                group.create_task(self._follow_remote()),
                group.create_task(self._follow_keys()),
                group.create_task(keep_small()),
                group.create_task(supervision.beat()),
            ]
            supervision.tell(supervision.READY)
            await stop.wait()
            supervision.tell(supervision.STOPPING)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.controller.stop(), DRAIN)
            for task in tasks:
                task.cancel()

    async def _follow_files(self, stop: asyncio.Event) -> None:
        if not self.source.files:
            return
        async for _ in self.files.watch(stop):
            while not await self._loaded():
                await asyncio.sleep(RELOAD_EVERY)

    async def _loaded(self) -> bool:
        """Load what was saved; False when Azure did not let us: a save must not be lost
        for that.
        """
        try:
            await self.load()
        except ManifestError as error:
            self._reject(error)
        except ReconcileError as error:
            log.warning("documents wait", reason=error.reason, message=error.message)
            return False
        return True

    async def _follow_approvals(self) -> None:
        """`moorage approve` writes to the store from another process; here it becomes an edge."""
        while True:
            await asyncio.sleep(APPROVAL_EVERY)
            said = self.store.get("approvals")
            if said != self._approved:
                self._approved = said
                with suppress(ManifestError, ReconcileError):
                    await self.load()
                self.controller.trigger(self.controller.approvable(), Priority.EDIT)

    async def _follow_remote(self) -> None:
        """Sources from elsewhere make no file event: look when one arrives, and at every resync
        while documents name some.
        """
        while True:
            try:
                await asyncio.wait_for(self.remote.arrived.wait(), self.pacing.resync)
            except TimeoutError:
                if not (self._snapshot and self._snapshot.fetched.documents):
                    continue
            self.remote.arrived.clear()
            with suppress(ManifestError, ReconcileError):
                await self.load()

    async def _follow_keys(self) -> None:
        """A rotated storage key makes no file event either; the lease's next renewal notices it.
        The documents stay as they were last read, so that a broken save does not stand in the way.
        """
        while True:
            await asyncio.sleep(KEYS_EVERY)
            if self._snapshot is None or not self.registrations.outdated():
                continue
            with suppress(ReconcileError):
                async with self._loading:
                    await self._look_at_registrations(self._snapshot.manifest.documents)
                    self._take_over(self._snapshot)
            if self.registrations.outdated():  # Azure did not answer
                await asyncio.sleep(RELOAD_EVERY)

    async def _look_for_orphans(self) -> None:
        while True:
            await asyncio.sleep(OWNED_EVERY)
            with suppress(ReconcileError):
                await self._refresh_owned()
                self.controller.set_orphans(owned.orphans(self._owned or ()))

    async def _collect_garbage(self) -> None:
        garbage = Garbage(self.arm, self.shares, self.store, self.settings.garbage_after)
        while True:
            await asyncio.sleep(min(GARBAGE_EVERY, self.settings.garbage_after))
            desired = self.composition.desired
            for item in with_spec(desired, resources.ShareSpec):
                if item.policy is not Policy.MANAGE:
                    continue
                place, share = (
                    item.document,
                    share_of(self.composition.names[item.spec.environment]),
                )
                check = partial(self.leadership.check, item.spec.environment)
                with suppress(ReconcileError), permit(check):
                    async for path in garbage.collect(share, desired):
                        text = (
                            f"{path} is deleted from the share: nothing has named it for"
                            f" {self.settings.garbage_after:g} s"
                        )
                        self.store.add_event(
                            normal(Reason.GARBAGE_COLLECTED, text, place, place), time.time()
                        )

    async def _refresh_owned(self) -> None:
        """Ask Azure what is ours. When it does not answer, what it last said has to do: a save must
        not be lost.
        """
        try:
            self._owned = await owned.list_owned(self.arm)
        except ReconcileError as error:
            if self._owned is None:
                raise
            log.warning(
                "what is ours could not be listed", reason=error.reason, message=error.message
            )

    def _reject(self, error: ManifestError) -> None:
        """A bad save changes nothing but what is said: the last good version keeps running."""
        text = str(error)
        if self.store.get("problems") == text:
            return
        self.store.put("problems", text)
        log.error("documents rejected; the last good version keeps running", problems=text)
        place = DocumentRef("Manifest", str(error.problems[0].file) if error.problems else "")
        self.store.add_event(warning(Reason.INVALID_DOCUMENT, text, place, place), time.time())

    async def _look_at_registrations(self, documents: Sequence[Loaded]) -> None:
        names = names_in(documents, self.settings.subscription_id, self.settings.location)
        seen = {record.key: record.outputs for record in self.controller.records()}
        await self.registrations.look(names.values(), seen)

    async def _fetch(self, documents: Sequence[Loaded]) -> Fetched:
        names = names_in(documents, self.settings.subscription_id, self.settings.location)
        shares = {name: self.shares.open(share_of(each)) for name, each in names.items()}
        found = await beside(
            self.remote.fetch(documents, shares), self._look_at_registrations(documents)
        )
        for ref, refused in found.refused.items():
            for path, why in refused.items():
                if self._refused.get(ref, {}).get(path) != why:
                    for document in found.documents[ref]:
                        text = f"{path} is not served: {why}"
                        self.store.add_event(
                            warning(Reason.ADAPTER_FAILED, text, document, document), time.time()
                        )
        self._refused = found.refused
        return found

    def _compose(self, snapshot: Snapshot) -> Composition:
        generations = {}
        for loaded in snapshot.manifest.documents:
            reference = DocumentRef(loaded.document.kind, loaded.document.metadata.name)
            generations[reference] = self.store.generation(reference, _spec_digest(loaded.document))
        world = World(
            subscription=self.settings.subscription_id,
            location=self.settings.location,
            owner_of=self.settings.owner_of,
            runtime=snapshot.runtime,
            trees=snapshot.trees,
            ranks=snapshot.ranks,
            generations=generations,
            homes=owned.homes(self._owned or ()),
            registered=self.registrations.found,
            fetched=snapshot.fetched.folders,
            missing=snapshot.fetched.missing,
            unfit=snapshot.unfit,
            models=snapshot.fetched.models,
            hub=HubAccess(self.settings.hf_endpoint, bool(self.settings.hf_token)),
            evaluations=snapshot.evaluations,
            orders=orders_of(snapshot.manifest.documents, self.store),
        )
        return compose(snapshot.manifest.documents, world)

    def _documents(self, snapshot: Snapshot) -> list[DocumentState]:
        """What the loop must know of each document, implicit Environments included."""
        prune = {
            loaded.document.metadata.name: loaded.document.spec.sync_policy.prune
            for loaded in snapshot.manifest.documents
            if isinstance(loaded.document, Environment)
        }
        states = []
        for loaded in snapshot.manifest.documents:
            document = loaded.document
            reference = DocumentRef(document.kind, document.metadata.name)
            scope = (
                document.metadata.name
                if isinstance(document, Environment)
                else document.spec.environment
            )
            refusal = self.composition.refusals.get(reference)
            states.append(
                DocumentState(
                    reference,
                    self.store.generation(reference, _spec_digest(document)),
                    scope,
                    prune.get(scope, False),
                    (refusal.reason, refusal.message) if refusal else None,
                )
            )
        return [*states, *self._left_alone({state.ref for state in states})]

    def _left_alone(self, listed: Collection[DocumentRef]) -> list[DocumentState]:
        """Environments that are refused and not in the documents: what is in them stays
        as it is.
        """
        rows = {row.ref: row for row in self.store.documents()}
        return [
            DocumentState(
                ref,
                rows[ref].generation,
                ref.name,
                prune=False,
                refusal=(refusal.reason, refusal.message),
            )
            for ref, refusal in self.composition.refusals.items()
            if ref not in listed and ref in rows
        ]


def lock(settings: Settings) -> FolderLock:
    """The lock on the daemon's state; `Locked` when another daemon has it."""
    return FolderLock(settings.daemon_dir)


def _spec_digest(document: object) -> str:
    body = document.model_dump(mode="json", by_alias=True)["spec"]  # type: ignore[attr-defined]
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
