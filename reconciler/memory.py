"""Gives memory back to the system. glibc keeps what a burst of work has freed, which after the
first convergence of a hundred services is 10 to 25 MB of 150. The daemon runs `keep_small`.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

EVERY = 30.0  # seconds; a call with nothing to give back takes microseconds


async def keep_small(every: float = EVERY) -> None:
    """Give back what is free, again and again, until cancelled; at once where the C library is not
    glibc.
    """
    trim = _trim()
    while trim is not None:
        await asyncio.sleep(every)
        trim(0)


def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return found
