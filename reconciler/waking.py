"""All that a daemon's supervisor runs: the loop, each edge that wakes it, and its small duties."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Protocol

from reconciler import memory, supervision
from reconciler.arm.clients import Arm
from reconciler.edges.approvals import Approvals
from reconciler.edges.edge import Edge
from reconciler.edges.garbage import GarbageEdge
from reconciler.edges.git_repository import GitRepository
from reconciler.edges.kept_starts import KeepStarts
from reconciler.edges.leases import Leases
from reconciler.edges.notify import Notices, Receiver
from reconciler.edges.orphans import Orphans
from reconciler.edges.remote_sources import RemoteEdge
from reconciler.edges.rotated_keys import RotatedKeys
from reconciler.edges.saves import Saves
from reconciler.edges.state_file import StateFile
from reconciler.edges.supervisor import Supervisor
from reconciler.edges.upkeep import Duty, Running
from reconciler.engine.controller import Controller
from reconciler.engine.events import Event
from reconciler.engine.queue import Priority
from reconciler.engine.result import Pacing
from reconciler.engine.store import Store
from reconciler.intake import Intake
from reconciler.kinds.share.garbage import Garbage
from reconciler.kinds.share.shares import Shares
from reconciler.kinds.share.start_memory import StartMemory
from reconciler.leadership import Leadership
from reconciler.lock import FolderLock
from reconciler.registrations import Registrations
from reconciler.settings import Settings
from reconciler.sources.documents import DocumentSource
from reconciler.sources.files import FileSource
from reconciler.sources.git import GitCheckout
from reconciler.sources.identity import DocumentSet
from reconciler.sources.orders import take_looks
from reconciler.sources.remote import RemoteSources

LOCK_EVERY = 5.0  # seconds


class Parts(Protocol):
    """The parts of a daemon that an edge wakes or looks at."""

    settings: Settings
    lock: FolderLock | None
    store: Store
    state_file: StateFile
    source: DocumentSource
    files: FileSource
    remote: RemoteSources
    arm: Arm
    shares: Shares
    registrations: Registrations
    leadership: Leadership
    pacing: Pacing
    controller: Controller
    intake: Intake
    checkout: GitCheckout | None
    git_every: float
    receiver: Receiver | None
    documents: DocumentSet

    def take_commit(self, commit: str | None) -> None: ...

    def tell(self, event: Event) -> None: ...


def edges_of(daemon: Parts, stop: asyncio.Event, supervisor: Supervisor) -> Iterator[Edge]:
    """`stop` ends the daemon; `supervisor` runs the edges that others start, one for each lease."""
    intake, store, controller = daemon.intake, daemon.store, daemon.controller
    leadership, registrations = daemon.leadership, daemon.registrations
    load = partial(_load, daemon)
    yield Running("the loop", controller.run)
    yield Leases(leadership, supervisor.start)
    if daemon.source.files:  # a daemon without documents only removes what it made
        yield Saves(daemon.files.watch, stop, load, intake.reject)
    if daemon.checkout:
        yield GitRepository(
            daemon.checkout, daemon.git_every, load, intake.reject, daemon.take_commit
        )
    if daemon.receiver:
        yield Notices(
            store,
            daemon.receiver,
            f"/moorage/{daemon.settings.target_key}/{daemon.documents.identity.id}",
            daemon.settings.target_title,
            leadership.stands_by,
        )
    yield Approvals(partial(store.get, "approvals"), intake.load, partial(_look, daemon))
    yield RemoteEdge(
        daemon.remote.arrived,
        intake.load,
        intake.remote_documents,
        intake.is_missing,
        daemon.pacing.resync,
    )
    yield RotatedKeys(
        registrations.changed,
        registrations.outdated,
        lambda: registrations.aged,
        intake.register_again,
    )
    yield Orphans(partial(_look_for_orphans, daemon), intake.aged)
    garbage = Garbage(daemon.arm, daemon.shares, store, daemon.settings.garbage_after)
    yield GarbageEdge(garbage, lambda: intake.composition, leadership.check, daemon.tell)
    yield KeepStarts(
        StartMemory(daemon.shares),
        lambda: intake.composition,
        controller.records,
        leadership.why_not,
    )
    yield Running("the watchdog", supervision.beat)
    yield Running("memory", memory.Tidying().run)
    yield daemon.state_file
    if daemon.lock:
        yield Duty("the lock", LOCK_EVERY, partial(_check, daemon.lock, stop))


async def _load(daemon: Parts) -> None:
    """Read the documents that were saved."""
    daemon.controller.expect()
    await daemon.intake.load()


def _look(daemon: Parts) -> None:
    """Look at what a person has approved, or has asked to be looked at."""
    asked = take_looks(daemon.store)
    looks = {each.key for each in daemon.controller.records() if str(each.document) in asked}
    if looks:
        daemon.shares.rounds.hurry()
    daemon.controller.trigger({*daemon.controller.approvable(), *looks}, Priority.SAVE)


async def _look_for_orphans(daemon: Parts) -> None:
    daemon.controller.set_orphans(await daemon.intake.look_for_owned())


def _check(lock: FolderLock, stop: asyncio.Event) -> None:
    """A daemon that lost its lock ends, because another may run on the same state by now."""
    if lock.lost():
        stop.set()
