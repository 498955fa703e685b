"""Runs every edge in a task of its own. An error is reported, pauses its own edge, and never
reaches the other edges or the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, Self

import structlog

from reconciler.edges.edge import Edge
from reconciler.engine.errors import Throttled

log = structlog.get_logger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between tries
INSIST = 1.0  # seconds until a task that is to end is cancelled again


class Interrupted(Exception):
    """Something that an edge awaited was cancelled, but not the edge itself."""


class EdgeReporter(Protocol):
    """Tells people. `failures` counts from 1 and begins again after a success."""

    def failed(self, edge: Edge, error: Exception, failures: int, pause: float) -> None: ...

    def recovered(self, edge: Edge) -> None: ...


class Supervisor:
    """An async context manager: every edge that was started ends with it."""

    def __init__(
        self, reporter: EdgeReporter, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._reporter = reporter
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        pending = self._tasks
        while pending:
            for task in pending:
                task.cancel()
            # Again after a while: a cancellation can be lost where it meets the end of an await.
            _, pending = await asyncio.wait(pending, timeout=INSIST)

    def start(self, edge: Edge) -> None:
        """Follow `edge` from now on."""
        self._tasks.add(asyncio.create_task(self._follow(edge), name=edge.name))

    async def _follow(self, edge: Edge) -> None:
        failures, acting = 0, False

        def works() -> None:
            nonlocal failures
            failures = 0
            self._tell(self._reporter.recovered, edge)

        while True:
            lasted = None
            # The `act` of an endless edge does not return: lasting so long counts as a success.
            if acting and failures and edge.endless:
                lasted = asyncio.get_running_loop().call_later(LONGEST_PAUSE, works)
            error = await _attempt(edge.act if acting else edge.wait)
            if lasted:
                lasted.cancel()
            if error is None:
                if acting and failures:
                    works()
                acting = not acting
            else:
                failures += 1
                pause = _pause(failures, error)
                self._tell(self._reporter.failed, edge, error, failures, pause)
                await self._sleep(pause)

    @staticmethod
    def _tell(report: Callable[..., None], *arguments: object) -> None:
        try:
            report(*arguments)
        except Exception:
            log.exception("an error could not be reported")


async def _attempt(step: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        await step()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return Interrupted()
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the daemon
        return error
    return None


def _pause(failures: int, error: Exception) -> float:
    pause = min(FIRST_PAUSE * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE)
    told = error.retry_after if isinstance(error, Throttled) else None
    return max(pause, told or 0.0)
