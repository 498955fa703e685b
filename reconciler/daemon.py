"""A daemon's life: it builds its parts, runs the loop and what wakes it until a signal, and drains.
`waking` lists what is run, `handover` takes what the documents ask for to the loop.

`edges` -> `intake` -> `composition` -> `engine.controller` -> `kinds` -> `arm` -> Azure.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

import structlog

from reconciler import memory, supervision
from reconciler.api.kinds import Kind
from reconciler.arm.clients import Arm
from reconciler.composition import Composition
from reconciler.edges.notify import Receiver
from reconciler.edges.report import EdgeReports
from reconciler.edges.state_file import StateFile
from reconciler.edges.supervisor import Supervisor
from reconciler.engine.controller import Controller, Watcher
from reconciler.engine.errors import ReconcileError
from reconciler.engine.events import Event
from reconciler.engine.external import Identity
from reconciler.engine.result import Pacing
from reconciler.engine.store import Store
from reconciler.handover import Handover
from reconciler.intake import Intake
from reconciler.kinds import kinds_for
from reconciler.kinds.share.shares import Shares
from reconciler.leadership import Leadership
from reconciler.lock import FolderLock, LockLost
from reconciler.outcomes import OutcomeReports
from reconciler.page import DaemonPage, forget_address
from reconciler.registrations import Registrations
from reconciler.settings import Settings
from reconciler.sources import sets
from reconciler.sources.documents import DocumentSource
from reconciler.sources.files import FileSource
from reconciler.sources.git import GitCheckout
from reconciler.sources.identity import DocumentSet, set_of
from reconciler.sources.pauses import show_pauses
from reconciler.sources.remote import RemoteSources
from reconciler.sources.set_files import note_files, other_files
from reconciler.toolkit.config_file import ConfigFiles
from reconciler.waking import edges_of
from reconciler.web.metrics import DaemonMetrics
from reconciler.web.status import status_of

log = structlog.get_logger(__name__)
DRAIN = 10.0  # seconds for passes under way to end
GIT_EVERY = 30.0  # seconds between looks for a new commit


class Daemon:
    """One target, one set of documents. Use as an async context manager, then `run`; a command that
    runs once calls `single_run`.
    """

    def __init__(
        self,
        settings: Settings,
        files: Sequence[Path],
        *,
        store: Store | None = None,
        documents: DocumentSet | None = None,
        pacing: Pacing | None = None,
        watcher: Watcher | None = None,
        listening: socket.socket | None = None,
        lock: FolderLock | None = None,
        checkout: GitCheckout | None = None,
        git_every: float = GIT_EVERY,
        receiver: Receiver | None = None,
    ) -> None:
        self.settings = settings
        self.lock = lock
        cache = settings.state_dir / "cache"
        self.checkout, self.git_every = checkout, git_every
        self.receiver = receiver
        self.source = DocumentSource(files, cache, checkout.current if checkout else None)
        self.files = FileSource(files, self.source.stats, doubt=self.source.doubt)
        self.remote = RemoteSources(cache, settings.hf_endpoint, settings.hf_token)
        opened = store or Store.keep(settings.daemon_dir / "state.db", settings.target_key)
        self.documents = documents or set_of(files, settings.owner, sets.last(opened))
        self.store = opened.of_set(self.documents.identity.id)
        self.ownership = sets.ownership_of(opened, self.documents.identity.id)
        self.pacing = pacing or Pacing(resync=settings.resync)
        self.watcher = watcher
        self.listening = listening
        self.page: DaemonPage | None = None
        self.configs = ConfigFiles(settings.subscription_id)
        self._told: tuple[Path, ...] = ()

    async def __aenter__(self) -> Self:
        memory.keep_connections_small()
        self._stack = AsyncExitStack()
        path = self.settings.daemon_dir / "state.db"
        self.state_file = StateFile(self.store.database, path, self.tell)
        self.arm = await self._stack.enter_async_context(Arm(self.settings))
        self.shares = Shares(self.arm, self.ownership)
        self.kinds = kinds_for(self.arm, self.ownership, self.shares, self.source.values)
        self.registrations = Registrations(self.arm, self.shares)
        self.leadership = Leadership(self.shares, self.settings.daemon_dir, self.tell)
        self.metrics = DaemonMetrics(self.arm.calls)
        self.controller = self._controller()
        self.intake = self._intake()
        if self.listening:
            self.page = await self._stack.enter_async_context(self._page(self.listening))
        elif self.lock:  # a daemon that was killed has left its address
            forget_address(self.settings.daemon_dir)
        return self

    def _controller(self) -> Controller:
        outcomes = OutcomeReports(
            self.store, self.metrics, self.configs, lambda: self.intake.composition, self.watcher
        )
        return Controller(
            self.kinds.values(),
            self.store,
            why_not=self._why_not,
            pacing=self.pacing,
            watch=outcomes.saw,
            together=[kind for kind in Kind if kind.few or kind is Kind.RESOURCE_GROUP],
        )

    def _intake(self) -> Intake:
        handover = Handover(
            self.controller,
            self.store,
            self.files,
            self.leadership,
            self.configs,
            self._is_complete,
        )
        return Intake(
            self.settings,
            self.ownership,
            self.store,
            self.source,
            self.remote,
            self.registrations,
            self.arm,
            self.shares,
            lambda: {record.key: record.outputs for record in self.controller.records()},
            handover.take,
            self.tell,
        )

    @property
    def elsewhere(self) -> tuple[Path, ...]:
        """Other files of the set, as the documents last read name it; they are not read."""
        return other_files(self.store, self._given_identities, self._set_files)

    @property
    def _given_identities(self) -> list[str]:
        """The identities of the set that do not come from where its files lie."""
        own = self.documents.identity
        given = [own.id] if own.id == self.settings.owner else []
        return [*given, *self.ownership.declared.values()]

    @property
    def _set_files(self) -> Sequence[Path]:
        """The link of a checkout stays, where the folder of a commit goes."""
        return (self.checkout.documents,) if self.checkout else self.documents.files

    def _is_complete(self) -> bool:
        if self.documents.partial:
            return False
        elsewhere = self.elsewhere
        note_files(self.store, self._given_identities, self._set_files)
        if elsewhere and elsewhere != self._told:
            names = ", ".join(map(str, elsewhere))
            log.warning("nothing is deleted", because=f"not read, of the same set: {names}")
        self._told = elsewhere
        return not elsewhere

    def _page(self, listening: socket.socket) -> DaemonPage:
        return DaemonPage(
            self.settings,
            self.store,
            self.status,
            self.metrics,
            lambda: self.intake.composition,
            self.controller.records,
            self.leadership.leading,
            self.leadership.stands_by,
            listening,
            self.checkout.pushed.set if self.checkout else None,
        )

    async def __aexit__(self, *_: object) -> None:
        for kind in self.kinds.values():
            if (close := getattr(kind, "close", None)) is not None:
                await close()
        await self.remote.close()
        await self.leadership.release()
        await self._stack.aclose()
        self.store.close()

    @property
    def composition(self) -> Composition:
        """The composition of the documents as last read."""
        return self.intake.composition

    def status(self) -> dict[str, Any]:
        """The status as `moorage status -o json` prints it."""
        value = status_of(
            self.store, self.settings.target_title, {"running": True, "pid": os.getpid()}
        )
        show_pauses(value["documents"], self.store)
        return value | {"set": self.documents.as_value()}

    async def load(self) -> Composition:
        """Read the sources and give the desired objects to the loop; raises as `Intake.load`
        does.
        """
        return await self.intake.load()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch and reconcile until `stop`; nothing else ends it, except the loss of the lock.

        Raises:
            LockLost: another daemon may run on the same state by now.
        """
        sets.remember(self.store, self.documents, self.checkout)
        self.take_commit(self.checkout.commit if self.checkout else None)
        await self.leadership.stand()
        reports = EdgeReports(self.controller, self.tell)
        async with Supervisor(reports) as supervisor:
            for edge in edges_of(self, stop, supervisor):
                supervisor.start(edge)
            supervision.notify(supervision.READY)
            await stop.wait()
            supervision.notify(supervision.STOPPING)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.controller.stop(), DRAIN)
        if self.lock and self.lock.lost():
            raise LockLost(self.lock.path)

    def _why_not(self, identity: Identity) -> ReconcileError | None:
        """Why nothing may be written for an object now."""
        return self.registrations.why_not(identity.key) or self.leadership.why_not(identity.scope)

    def take_commit(self, commit: str | None) -> None:
        """Remember which commit the documents are read from, for the status and the history."""
        self.store.put("commit", commit)

    def tell(self, event: Event) -> None:
        self.store.add_event(event, time.time())


def lock(settings: Settings) -> FolderLock:
    """The lock on the daemon's state; `Locked` when another daemon has it."""
    return FolderLock(settings.daemon_dir)
