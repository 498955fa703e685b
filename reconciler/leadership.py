"""Who may write: for each Environment the holder of its share's lease. Before a share exists, only
idempotent creations happen, and those need no leader. `edges.leases` renews the leases.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import structlog

from reconciler.api.reasons import AzureCode, Reason
from reconciler.api.resources import ShareRef
from reconciler.arm.lease import Leader
from reconciler.composition import Composition
from reconciler.composition.environment import share_of
from reconciler.engine.errors import ReconcileError
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import DocumentRef
from reconciler.kinds.share.shares import Shares

log = structlog.get_logger(__name__)
UNSEEN = 30.0  # seconds between questions for a share that the loop does not see
NO_SHARE_YET = frozenset(
    {
        Reason.STORAGE_ACCOUNT_NOT_READY,
        AzureCode("ShareNotFound"),
        AzureCode("StorageAccountIsNotProvisioned"),
        AzureCode("ResourceNotFound"),
    }
)


class Stand:
    """Our candidacy for the lease of one share. `over` once the Environment has another share."""

    def __init__(
        self,
        environment: str,
        share: ShareRef,
        leader: Leader,
        found: asyncio.Event,
        tell: Callable[[Event], None],
    ) -> None:
        """`found` is set whenever the loop sees that the share is there."""
        self.environment, self.share, self.leader = environment, share, leader
        self._found, self._there = found, False
        self.over = False
        self.rest = 0.0  # seconds from the last step on in which nothing need be asked
        self._tell = tell
        self._said = ""

    async def step(self) -> float:
        """Acquire or renew; the seconds until the next time. What it changed for this daemon is an
        event: who leads now, or why we do not any more.
        """
        self._there = self._there or self._found.is_set()
        self._found.clear()
        wait = await self.leader.step()
        if self.leader.reason in NO_SHARE_YET:
            # Azure Files may know of a share later than Resource Manager.
            return min(wait, 1.0) if self._there else UNSEEN
        self._there = False
        refusal, place = self.leader.why_not(), DocumentRef("Environment", self.environment)
        self.rest = 0.0 if refusal else wait
        before, self._said = self._said, refusal.message if refusal else ""
        if refusal and refusal.message != before:
            self._tell(warning(refusal.reason, refusal.message, place, place))
        elif before and not refusal:
            message = f"this daemon writes for {self.environment} now"
            self._tell(normal(Reason.LEADING, message, place, place))
        return wait

    async def pause(self, seconds: float) -> None:
        """Wait until the next step. Before there is a share, nothing asks Azure for it but the
        loop, whose sight of it ends the wait: with many Environments the questions would be most
        of the calls of a start.
        """
        if self.leader.reason not in NO_SHARE_YET:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._found.wait(), seconds)

    def why_not(self) -> ReconcileError | None:
        return None if self.leader.reason in NO_SHARE_YET else self.leader.why_not()


class Leadership:
    """The lease id is kept beside the daemon's state, so that a restart goes on at once. `changed`
    is set when there is a new stand.
    """

    def __init__(self, shares: Shares, folder: Path, tell: Callable[[Event], None]) -> None:
        self.changed = asyncio.Event()
        self._shares = shares
        self._folder = folder
        self._tell = tell
        self._id = ""
        self._stands: dict[str, Stand] = {}
        self._observed: dict[
            str, ShareRef
        ] = {}  # where no lease is held until a write is asked for

    @property
    def stands(self) -> tuple[Stand, ...]:
        """The candidacies for all known Environments, including those of documents of former
        runs.
        """
        return tuple(self._stands.values())

    def follow(self, composition: Composition, observed: Collection[str] = ()) -> None:
        """Stand for election in every Environment of `composition`, except those in which documents
        only observe: the lease is a write, and would keep the daemon out that manages them.
        """
        self._observed = {}
        for name, names in composition.names.items():
            share, before = share_of(names), self._stands.get(name)
            if name in observed:
                self._observed[name] = share
                if before is not None:  # its lease runs out by itself
                    before.over = True
                    del self._stands[name]
            elif before is None or before.share != share:
                if before is not None:
                    before.over = True
                self._stand_for(name, share)

    def _stand_for(self, name: str, share: ShareRef) -> None:
        opened = self._shares.open(share)
        leader = Leader(opened, self._lease_id())
        self._stands[name] = Stand(name, share, leader, opened.found, self._tell)
        self.changed.set()

    def why_not(self, environment: str) -> ReconcileError | None:
        """Why no write for what is in `environment` may be issued now. Where documents only
        observe, the question itself asks for the lease: something that was managed is to be deleted
        there.
        """
        if environment in self._observed and environment not in self._stands:
            self._stand_for(environment, self._observed[environment])
        stand = self._stands.get(environment)
        return stand.why_not() if stand else None

    def check(self, environment: str) -> None:
        """Raise why no write for what is in `environment` may be issued now."""
        if refusal := self.why_not(environment):
            raise refusal

    def leading(self) -> bool:
        """Whether this daemon may write in every Environment it knows."""
        return all(stand.leader.may_write() for stand in self.stands)

    def stands_by(self) -> bool:
        """Whether another daemon writes in an Environment, or no lease is held yet. That one lease
        cannot be had for another reason, such as a lock, concerns its Environment alone.
        """
        refusals = [stand.why_not() for stand in self.stands]
        others = any(each and each.reason == Reason.NOT_LEADER for each in refusals)
        return others or (bool(refusals) and all(refusals))

    async def stand(self) -> None:
        """Ask for every lease once, so that the first write need not wait. A lease that cannot be
        asked for is asked for again by its edge.
        """
        for error in await asyncio.gather(
            *(stand.step() for stand in self.stands), return_exceptions=True
        ):
            if isinstance(error, Exception):
                log.warning("a lease could not be asked for", exc_info=error)

    async def release(self) -> None:
        for stand in self.stands:
            try:
                await stand.leader.release()
            except ReconcileError as error:
                log.debug("lease not released", reason=error.reason)

    def _lease_id(self) -> str:
        if not self._id:
            kept = _kept_id(self._folder / "lease-id")
            # The id is bound to this host, so that two copies of a machine do not both lead.
            self._id = str(uuid.uuid5(kept, socket.gethostname()))
        return self._id


def _kept_id(path: Path) -> uuid.UUID:
    """The id in the file, or a new one, kept there if possible. Without the file a restarted daemon
    waits until the lease of the former one has run out.
    """
    try:
        return uuid.UUID(path.read_text("utf-8").strip())
    except (OSError, ValueError):
        fresh = uuid.uuid4()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(str(fresh), "utf-8")
    except OSError as error:
        log.warning("the lease id cannot be kept", file=str(path), error=error.strerror)
    return fresh
