"""Leader election by the lease on a share: of all daemons of one Environment only the holder
writes.

The promise is that no write is issued after the lease has expired; what Azure does with a write
already sent is not ours.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.api.reasons import AzureCode, Cause, Reason
from reconciler.arm.share import Share
from reconciler.engine.errors import ReconcileError

if TYPE_CHECKING:
    from azure.storage.fileshare.aio import ShareClient

DURATION = 30  # seconds; Azure allows 15 to 60
RENEW_EVERY = 10.0
_SAFE = DURATION * 2 / 3


class Leader:
    """Call `step` again and again, waiting as long as it says; ask `may_write` before every write.

    `lease_id` (a GUID) is who we are. Kept beside the daemon's state, it lets a restarted daemon go
    on at once, where a new one would wait for the old lease to run out.
    """

    def __init__(
        self, share: Share, lease_id: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share = share
        self._id = lease_id or str(uuid.uuid4())
        self._clock = clock
        self._until = 0.0
        self._held = False
        # Why it is not held: `Azure:LeaseAlreadyPresent`, `AzureUnreachable` …
        self.reason: Cause | None = Reason.NOT_OBSERVED

    def may_write(self) -> bool:
        """Whether a write may be issued now: by our own clock, two thirds of the lease have not
        passed since it was asked for.
        """
        return self._held and self._clock() < self._until

    async def step(self) -> float:
        """Acquire or renew once; the seconds to wait until the next step. Never raises: `may_write`
        and `reason` tell.
        """
        asked = self._clock()
        try:
            await self._share.call(self._acquire)
        except ReconcileError as error:
            self.reason = error.reason
            if error.reason in _LOST:
                self._held = False
            # The lease we hold may still be good for a while: try again soon, and let the clock end
            # it.
            return 2.0 if self.may_write() else RENEW_EVERY / 2
        self._held, self._until, self.reason = True, asked + _SAFE, None
        return RENEW_EVERY

    async def release(self) -> None:
        """Give the lease up so that another daemon need not wait. Failing to is no harm: it runs
        out.
        """
        held, self._held = self._held, False
        if held:
            try:
                await self._share.call(self._release)
            except ReconcileError as error:
                self.reason = error.reason

    async def _acquire(self, client: ShareClient) -> None:
        """Acquiring again with the id that holds it renews it, and also takes over what has
        expired: one call for all.
        """
        await client.acquire_lease(lease_duration=DURATION, lease_id=self._id)

    async def _release(self, client: ShareClient) -> None:
        from azure.storage.fileshare.aio import ShareLeaseClient

        await ShareLeaseClient(client, self._id).release()


_LOST = {
    AzureCode("LeaseAlreadyPresent"),
    AzureCode("LeaseIdMismatchWithLeaseOperation"),
    AzureCode("LeaseNotPresentWithLeaseOperation"),
    AzureCode("ShareNotFound"),
}
