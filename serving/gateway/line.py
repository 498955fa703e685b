"""A bounded FIFO queue of the requests that wait for one service."""

from __future__ import annotations

import asyncio
from bisect import insort

# Requests that connect to the service at the same time. Each is written after the one before it,
# so that more of them would only have more handshakes compete for one core.
WINDOW = 32
LONGEST_TURN = 1.0  # seconds: a request whose connection hangs holds up nobody for longer


class LineFullError(Exception):
    """As many requests wait as may."""


class Turn:
    """A request that has left the queue: it connects at once, and is written when those before it
    have been written.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._first = asyncio.Event()

    async def come(self) -> None:
        """Wait until all who were let on earlier were sent, or took too long."""
        try:
            async with asyncio.timeout(LONGEST_TURN):
                await self._first.wait()
        except TimeoutError:
            pass

    def sent(self) -> None:
        """The request was written to its connection, or will not be."""
        self._line.sent(self)

    def begin(self) -> None:
        self._first.set()


class Line:
    """A ticket is a request's place in the queue. A request that must wait again after a failed try
    keeps its place before all that arrived later. Requests that join while the queue is being
    emptied go behind its last one.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: list[tuple[int, asyncio.Future[Turn]]] = []
        self._leaving: list[Turn] = []
        self.moving = False

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, ticket: int) -> asyncio.Future[Turn]:
        """Wait for the service. Raises LineFullError."""
        if len(self._waiting) >= self.most and not self.moving:
            raise LineFullError
        place: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        insort(self._waiting, (ticket, place), key=lambda one: one[0])
        self._let_on()
        return place

    def leave(self, place: asyncio.Future[Turn]) -> None:
        """Give the place up, and the turn if it has come already."""
        self._waiting = [one for one in self._waiting if one[1] is not place]
        if place.done() and not place.cancelled() and not place.exception():
            place.result().sent()

    def open(self) -> None:
        """Release all requests, in their order."""
        self.moving = True
        self._let_on()

    def fail(self, error: Exception) -> None:
        """Fail all requests with the cause."""
        waiting, self._waiting = self._waiting, []
        self.moving = self.moving and bool(self._leaving)
        for _, place in waiting:
            if not place.done():
                place.set_exception(error)

    def close(self) -> None:
        """Release no more requests. Those that were released before go on."""
        self.moving = False

    def sent(self, turn: Turn) -> None:
        if turn in self._leaving:
            self._leaving.remove(turn)
            self._let_on()

    def _let_on(self) -> None:
        while self.moving and self._waiting and len(self._leaving) < WINDOW:
            _, place = self._waiting.pop(0)
            if not place.done():
                turn = Turn(self)
                self._leaving.append(turn)
                place.set_result(turn)
        self.moving = self.moving and bool(self._leaving)
        if self._leaving:
            self._leaving[0].begin()
