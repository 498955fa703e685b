"""The shares this daemon has opened, one connection each, so that keys are fetched once and
directories remembered; and whose turn it is to be read from them.
"""

from __future__ import annotations

import time
from datetime import datetime

from reconciler.api.resources import ShareRef
from reconciler.arm import ids
from reconciler.arm.clients import Arm
from reconciler.arm.ownership import Ownership
from reconciler.arm.share import Share
from reconciler.engine.external import Identity, ObjectKey
from reconciler.kinds.share.rounds import Rounds


class Shares:
    """Connections by share; they open themselves at the first use."""

    def __init__(self, arm: Arm, ownership: Ownership) -> None:
        self.arm = arm
        self.ownership = ownership
        self.rounds = Rounds(time.monotonic, arm.settings.resync)
        self._open: dict[ShareRef, Share] = {}

    def now(self) -> datetime:
        """The share's time."""
        return self.arm.time.now()

    def open(self, ref: ShareRef) -> Share:
        if ref not in self._open:
            self._open[ref] = Share(
                self.arm, ref.resource_group, ref.account, ref.share, self.ownership
            )
        return self._open[ref]

    def is_new(self, ref: ShareRef) -> bool:
        """Whether we created the share a moment ago, so that it holds only what we put there."""
        return self.open(ref).is_new

    def identify(self, key: ObjectKey, ref: ShareRef, path: str) -> Identity:
        """The identity of an object that is a folder on a share."""
        share = ids.share(self.arm.subscription_id, ref.resource_group, ref.account, ref.share)
        return Identity(key, ids.on_share(share, path), ref.environment)

    def find(self, identity: Identity) -> tuple[Share, str]:
        """The share and the path on it that `identify` named."""
        ref = ShareRef(
            identity.scope,
            ids.part(identity.id, "resourceGroups"),
            ids.part(identity.id, "storageAccounts"),
            ids.part(identity.id, "shares"),
        )
        return self.open(ref), ids.path_on_share(identity.id)
