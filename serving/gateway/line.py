"""Requests that wait for one service: bounded, let on in the order of their arrival."""

from __future__ import annotations

import asyncio
from bisect import insort


class LineFullError(Exception):
    """As many requests wait as may."""


class Line:
    """A ticket is a request's place: who has to wait again after a failed try comes before all who
    arrived later.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, ticket: int) -> asyncio.Future[None]:
        """Wait for the service. Raises LineFullError."""
        if len(self._waiting) >= self.most:
            raise LineFullError
        place = asyncio.get_running_loop().create_future()
        insort(self._waiting, (ticket, place), key=lambda one: one[0])
        return place

    def leave(self, place: asyncio.Future[None]) -> None:
        """Give the place up; nothing is done for one that was let on."""
        self._waiting = [one for one in self._waiting if one[1] is not place]

    def open(self) -> None:
        """Let everybody on, the first first."""
        waiting, self._waiting = self._waiting, []
        for _, place in waiting:
            if not place.done():
                place.set_result(None)

    def fail(self, error: Exception) -> None:
        """Send everybody away with the cause."""
        waiting, self._waiting = self._waiting, []
        for _, place in waiting:
            if not place.done():
                place.set_exception(error)
