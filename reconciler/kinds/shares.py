"""The shares this daemon has opened, one connection each, so that keys are fetched once and
directories remembered.
"""

from __future__ import annotations

from datetime import datetime

from reconciler.api.resources import ShareRef
from reconciler.arm.clients import Arm
from reconciler.arm.share import Share


class Shares:
    """Connections by share; they open themselves at the first use."""

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        self._open: dict[ShareRef, Share] = {}

    def now(self) -> datetime:
        """The share's time."""
        return self.arm.time.now()

    def open(self, ref: ShareRef) -> Share:
        if ref not in self._open:
            self._open[ref] = Share(self.arm, ref.resource_group, ref.account, ref.share)
        return self._open[ref]
