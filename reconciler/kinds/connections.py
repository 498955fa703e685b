"""What the kinds are built from: the connections of one daemon, shared by all of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from reconciler.api.secret_values import SecretValues
from reconciler.arm.clients import Arm
from reconciler.arm.ownership import Ownership
from reconciler.engine.clock import SystemClock
from reconciler.kinds.service.cause import Causes
from reconciler.kinds.service.looks import Looks
from reconciler.kinds.service.trial import Trials
from reconciler.kinds.service.turns import Turns
from reconciler.kinds.share.reports import Reports
from reconciler.kinds.share.shares import Shares
from reconciler.kinds.share.start_memory import StartMemory


@dataclass(frozen=True)
class Connections:
    """Every kind takes this and keeps what it needs of it."""

    arm: Arm
    ownership: Ownership
    shares: Shares
    reports: Reports
    looks: Looks
    trials: Trials
    causes: Causes
    secrets: SecretValues

    @classmethod
    def on(
        cls, arm: Arm, ownership: Ownership, shares: Shares, secrets: SecretValues | None = None
    ) -> Self:
        """All of them on one connection to ARM; `secrets` has the values that apps get."""
        reports = Reports(shares)
        turns = Turns(time.monotonic, lambda: arm.calls["GET"])
        looks = Looks(arm, reports, turns, StartMemory(shares))
        causes = Causes(arm, time.monotonic)
        trials = Trials(arm, SystemClock())
        values = secrets or SecretValues()
        return cls(arm, ownership, shares, reports, looks, trials, causes, values)
