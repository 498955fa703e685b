"""Holds the answers to reads back, so that each open file is read no faster than a stream of a
share is. Used by `server`, which has one thread, so a wait for one file must not delay another.
"""

import heapq
import threading
import time
from collections.abc import Callable


class StreamPace:
    """`rate` is in bytes a second; `send` takes an answer when it is due, in another thread."""

    def __init__(
        self,
        rate: float,
        send: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._send, self._clock = rate, send, clock
        self._free: dict[int, float] = {}
        self._due: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="pace", daemon=True).start()

    def answer(self, handle: int, size: int, reply: bytes) -> None:
        """Queue the answer to a read of so many bytes."""
        with self._changed:
            at = max(self._clock(), self._free.get(handle, 0.0)) + size / self._rate
            self._free[handle] = at
            self._count += 1  # answers that are due at once go in their order
            heapq.heappush(self._due, (at, self._count, reply))
            self._changed.notify()

    def forget(self, handle: int) -> None:
        with self._changed:
            self._free.pop(handle, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due:
                    self._changed.wait()
                left = self._due[0][0] - self._clock()
                if left > 0:
                    self._changed.wait(left)
                    continue
                reply = heapq.heappop(self._due)[2]
            self._send(reply)
