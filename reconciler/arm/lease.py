"""Leader election by the lease on a share: of all daemons of one Environment only the holder
writes.

The promise is that no write is issued after the lease has expired; what Azure does with a write
already sent is not ours. `holder` tells people who has it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.api.reasons import AzureCode, Cause, Reason
from reconciler.arm import holder
from reconciler.arm.errors import translate
from reconciler.arm.share import Share
from reconciler.engine.clock import with_suspend
from reconciler.engine.errors import NotReadyYet, ReconcileError, WaitingForHuman

if TYPE_CHECKING:
    from azure.storage.fileshare.aio import ShareClient

DURATION = 30  # seconds; Azure allows 15 to 60
RENEW_EVERY = 10.0
_SAFE = DURATION * 2 / 3
_PATIENCE = 6.0  # a renewal that hangs must leave time for another one before the lease ends


class Leader:
    """Call `step` in a loop, each time after the delay that it returned; call `why_not` before
    every write.

    `lease_id` (a GUID) is who we are. Kept beside the daemon's state, it lets a restarted daemon go
    on at once, where a new one would wait for the old lease to run out. `clock` counts the time in
    which the machine is suspended, as Azure does.
    """

    def __init__(
        self, share: Share, lease_id: str | None = None, clock: Callable[[], float] = with_suspend
    ) -> None:
        self._share = share
        self._id = lease_id or str(uuid.uuid4())
        self._clock = clock
        self._until = 0.0
        self._held = False
        self._since = 0.0  # when it was acquired
        self._signed = False  # whether the share says that it is ours
        # Why it is not held: `Azure:LeaseAlreadyPresent`, `AzureUnreachable` …
        self.reason: Cause | None = Reason.NOT_OBSERVED
        self._message = "it was not asked for yet"
        self._asks = False  # whether a person must do something first
        self._endless = False  # whether the lease of somebody else has no end, as no daemon's has

    def may_write(self) -> bool:
        """Whether a write may be issued now: by our own clock, two thirds of the lease have not
        passed since it was asked for.
        """
        return self._held and self._clock() < self._until

    def why_not(self) -> ReconcileError | None:
        """Why no write may be issued now: who holds the lease, or what kept us from renewing it. It
        waits for a person where the renewal does.
        """
        if self.may_write():
            return None
        if self.reason == _OTHER and self._endless:
            return WaitingForHuman(self.reason, self._message)
        if self.reason == _OTHER:
            return NotReadyYet(Reason.NOT_LEADER, self._message, after=5.0)
        if self.reason is None:
            message = f"the lease on {self._name} has run out and is asked for again"
            return NotReadyYet(Reason.LEASE_EXPIRED, message, after=1.0)
        message = f"nothing is written: the lease on {self._name} is not held: {self._message}"
        if self._asks:
            return WaitingForHuman(self.reason, message)
        return NotReadyYet(self.reason, message, after=5.0)

    async def step(self) -> float:
        """Acquire or renew once; the seconds to wait until the next step. Never raises: `why_not`
        tells.
        """
        asked, had = self._clock(), self.may_write()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._share.call(self._acquire)
        except (ReconcileError, TimeoutError) as error:
            await self._failed(translate(error))
            # The lease we hold may still be good for a while: try again soon, and let the clock end
            # it.
            return 2.0 if self.may_write() else RENEW_EVERY / 2
        taken = self.reason == _OTHER
        self._held, self._until, self.reason = True, asked + _SAFE, None
        self._since = self._since if had else asked
        # At once if another daemon was the leader. Otherwise not at the start, when many other
        # requests wait.
        if not self._signed and (taken or asked - self._since >= RENEW_EVERY / 2):
            with suppress(ReconcileError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await holder.sign(self._share, self._id)
                    self._signed = True
        return RENEW_EVERY

    async def release(self) -> None:
        """Release the lease, so that another daemon need not wait. A failure does not matter: the
        lease expires.
        """
        held, self._held = self._held, False
        if held:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._share.call(self._release)
            except (ReconcileError, TimeoutError) as error:
                self.reason = translate(error).reason

    @property
    def _name(self) -> str:
        return f"share {self._share.name} of storage account {self._share.account}"

    async def _failed(self, error: ReconcileError) -> None:
        if error.reason in _LOST:
            self._held = self._signed = False
        known = self.reason == _OTHER and error.reason == _OTHER
        self.reason, self._asks = error.reason, isinstance(error, WaitingForHuman)
        if error.reason != _OTHER:
            self._message = error.message
        if error.reason == _OTHER:
            if not known or self._endless:
                await self._ask_for_end()
            if not self._endless:
                await self._ask_who()

    async def _ask_for_end(self) -> None:
        """Look at the lease of somebody else: whether it ends by itself, as a daemon's lease
        does.
        """
        self._endless = False
        with suppress(ReconcileError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                self._endless = await self._share.call(_has_no_end)
        self._message = f"another daemon holds the lease on {self._name}; nothing is written"
        if self._endless:
            self._message = (
                f"no daemon holds the lease on {self._name}: it has no end, so a person or another"
                " program took it; nothing is written until they release it, or somebody breaks it"
            )

    async def _ask_who(self) -> None:
        with suppress(ReconcileError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                if other := await holder.read(self._share, self._id):
                    self._message = (
                        f"{other} holds the lease on {self._name}; nothing is written from here"
                    )

    async def _acquire(self, client: ShareClient) -> None:
        """Acquiring again with the id that holds it renews it, and also takes over what has
        expired: one call for all.
        """
        await client.acquire_lease(lease_duration=DURATION, lease_id=self._id)

    async def _release(self, client: ShareClient) -> None:
        from azure.storage.fileshare.aio import ShareLeaseClient

        await ShareLeaseClient(client, self._id).release()


async def _has_no_end(client: ShareClient) -> bool:
    return str((await client.get_share_properties()).lease.duration) == "infinite"


_OTHER = AzureCode("LeaseAlreadyPresent")
_LOST = {
    _OTHER,
    AzureCode("LeaseIdMismatchWithLeaseOperation"),
    AzureCode("LeaseNotPresentWithLeaseOperation"),
    AzureCode("ShareNotFound"),
}
