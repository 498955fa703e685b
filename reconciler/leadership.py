"""Who may write: for each Environment the holder of its share's lease. Before a share exists, only
idempotent creations happen, and those need no leader.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import structlog

from reconciler.api.reasons import AzureCode, Reason
from reconciler.arm.lease import Leader
from reconciler.composition import Composition
from reconciler.composition.environment import share_of
from reconciler.engine.errors import ReconcileError
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

    def __init__(self, shares: Shares, folder: Path) -> None:
        self.shares = shares
        self.folder = folder
        self.leaders: dict[str, Leader] = {}

    def follow(self, composition: Composition) -> None:
        """Stand for election in every Environment of `composition`."""
        for name, names in composition.names.items():
            if name not in self.leaders:
                self.leaders[name] = Leader(self.shares.open(share_of(names)), self._lease_id())

    def may_write(self, environment: str) -> bool:
        """Whether a write for what is in `environment` may be issued now."""
        leader = self.leaders.get(environment)
        return leader is None or leader.may_write() or leader.reason in NO_SHARE_YET

    def leading(self) -> bool:
        """Whether this daemon may write in every Environment it knows."""
        return all(leader.may_write() for leader in self.leaders.values())

    async def stand(self) -> None:
        """Ask for every lease once, so that the first write need not wait."""
        await asyncio.gather(*(leader.step() for leader in self.leaders.values()))

    async def run(self) -> None:
        """Renew every lease in time, until cancelled."""
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                for name, leader in self.leaders.items():
                    if name not in tasks:
                        tasks[name] = asyncio.create_task(_renew(leader))
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
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(str(uuid.uuid4()))
        return path.read_text().strip()


async def _renew(leader: Leader) -> None:
    while True:
        wait = await leader.step()
        await asyncio.sleep(min(wait, 1.0) if leader.reason in NO_SHARE_YET else wait)
