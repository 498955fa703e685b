"""The two times of the loop: what a person reads, and what durations are measured with.

A duration is a difference of `elapsed()` and never of `now()`, because a change of the machine's
clock must not make anything early or late. `ledger` uses it for the engine, `arm.lease`
for the lease.
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """`boot` names the period in which instants of `elapsed` can be compared, across processes."""

    @property
    def boot(self) -> str: ...

    def now(self) -> float:
        """Seconds since 1970, for people. It jumps when somebody sets the machine's clock."""
        ...

    def elapsed(self) -> float:
        """Seconds since some instant of this boot. It never jumps, and stands still while the
        machine is suspended: nobody could act in that time.
        """
        ...


class SystemClock:
    """The machine's. Where it has no boot id, every process is a boot of its own."""

    boot = _BOOT_ID.read_text("utf-8").strip() if _BOOT_ID.is_file() else uuid.uuid4().hex

    def now(self) -> float:
        return time.time()

    def elapsed(self) -> float:
        return time.monotonic()


def with_suspend() -> float:
    """Like `Clock.elapsed`, but the time of a suspended machine counts: for times that others
    measure as well, such as a lease.
    """
    if sys.platform == "win32":  # where `monotonic` counts a suspended machine
        return time.monotonic()
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
