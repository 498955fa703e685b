"""Keeps the daemon's memory small without long pauses. `waking` runs `Tidying.run`.

glibc keeps what a burst of work has freed, which after the first convergence of a hundred services
is 10 to 25 MB of 150. And Python starts a full garbage collection whenever a quarter has been added
to the live objects: with 1,000 services each one took 0.3 s of CPU, and a list of all container
apps was enough to start one.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from asyncio import sslproto
from collections.abc import Callable
from functools import lru_cache

EVERY = 10.0  # seconds; the objects made in between are collected in milliseconds
WHOLE = 3600.0  # seconds between full collections
TLS_BUFFER = 64 << 10  # bytes


class Tidying:
    """Freezes the objects that survive a collection, so that the next one looks at new objects
    only. Cycles among frozen objects are freed by a full collection from time to time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._whole = clock, clock()

    async def run(self) -> None:
        """Tidy until cancelled."""
        try:
            while True:
                await asyncio.sleep(EVERY)
                self.tidy()
        finally:
            gc.unfreeze()  # for whatever runs in this process afterwards

    def tidy(self) -> None:
        if self._clock() - self._whole >= WHOLE:
            self._whole = self._clock()
            gc.unfreeze()
        gc.collect()
        gc.freeze()
        give_back()


def keep_connections_small() -> None:
    """Let each TLS connection of asyncio read into 64 KB instead of 256 KB. At the peak of a start
    all 16 connections are open, which were 4.2 MB; a TLS record has 16 KB at most.
    """
    sslproto.SSLProtocol.max_size = TLS_BUFFER


def give_back() -> None:
    """Return free memory to the system; does nothing if the C library is not glibc."""
    if trim := _trim():
        trim(0)


@lru_cache(maxsize=1)
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # TypeError: Windows
        return None
    return found
