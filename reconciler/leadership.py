"""Who may write: for each Environment the holder of its share's lease. Before a share exists, only
idempotent creations happen, and those need no leader.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

import structlog

from reconciler.api.reasons import AzureCode, Reason
from reconciler.arm.lease import Leader
from reconciler.composition import Composition
from reconciler.composition.environment import share_of
from reconciler.engine.errors import NotReadyYet, ReconcileError
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import DocumentRef
from reconciler.kinds.shares import Shares

log = structlog.get_logger(__name__)
NO_SHARE_YET = frozenset(
    {
        Reason.STORAGE_ACCOUNT_NOT_READY,
        AzureCode("ShareNotFound"),
        AzureCode("StorageAccountIsNotProvisioned"),
        AzureCode("ResourceNotFound"),
    }
)


class Leadership:
    """One `Leader` per Environment. The lease id is kept beside the daemon's state, so that a
    restart goes on at once.
    """

    def __init__(self, shares: Shares, folder: Path, tell: Callable[[Event], None]) -> None:
        self.shares = shares
        self.folder = folder
        self.tell = tell
        self.leaders: dict[str, Leader] = {}
        self._said: dict[str, str] = {}

    def follow(self, composition: Composition) -> None:
        """Stand for election in every Environment of `composition`."""
        for name, names in composition.names.items():
            if name not in self.leaders:
                self.leaders[name] = Leader(self.shares.open(share_of(names)), self._lease_id())

    def why_not(self, environment: str) -> NotReadyYet | None:
        """Why no write for what is in `environment` may be issued now."""
        leader = self.leaders.get(environment)
        return None if leader is None or leader.reason in NO_SHARE_YET else leader.why_not()

    def check(self, environment: str) -> None:
        """Raise why no write for what is in `environment` may be issued now."""
        if refusal := self.why_not(environment):
            raise refusal

    def leading(self) -> bool:
        """Whether this daemon may write in every Environment it knows."""
        return all(leader.may_write() for leader in self.leaders.values())

    async def stand(self) -> None:
        """Ask for every lease once, so that the first write need not wait."""
        await asyncio.gather(*(self._step(*each) for each in self.leaders.items()))

    async def run(self) -> None:
        """Renew every lease in time, until cancelled."""
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                for name, leader in self.leaders.items():
                    if name not in tasks:
                        tasks[name] = asyncio.create_task(self._renew(name, leader))
                await asyncio.sleep(0.2)
        finally:
            for task in tasks.values():
                task.cancel()

    async def release(self) -> None:
        for leader in self.leaders.values():
            try:
                await leader.release()
            except ReconcileError as error:
                log.debug("lease not released", reason=error.reason)

    def _lease_id(self) -> str:
        path = self.folder / "lease-id"
        try:
            known = uuid.UUID(path.read_text().strip())
        except (OSError, ValueError):
            known = uuid.uuid4()
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(str(known))
        # Of this host alone: a folder that was copied with its machine must not lead twice.
        return str(uuid.uuid5(known, socket.gethostname()))

    async def _renew(self, name: str, leader: Leader) -> None:
        while True:
            wait = await self._step(name, leader)
            await asyncio.sleep(min(wait, 1.0) if leader.reason in NO_SHARE_YET else wait)

    async def _step(self, name: str, leader: Leader) -> float:
        """One renewal. What it changed for this daemon is an event: who leads now, or why we do not
        any more.
        """
        wait, refusal = await leader.step(), leader.why_not()
        if leader.reason not in NO_SHARE_YET:
            said, place = refusal.message if refusal else "", DocumentRef("Environment", name)
            before = self._said.get(name)
            if refusal and said != before:
                self.tell(warning(refusal.reason, said, place, place))
            elif before and not refusal:
                self.tell(
                    normal(Reason.LEADING, f"this daemon writes for {name} now", place, place)
                )
            self._said[name] = said
        return wait
