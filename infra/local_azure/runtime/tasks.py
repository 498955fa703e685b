"""The background tasks of one replica, each under a name: a new one replaces the one before it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_logger = logging.getLogger(__name__)


class Tasks:
    """Logs a task that fails, because no code awaits it."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.cancel(name)
        self._running[name] = task = asyncio.create_task(work)
        task.add_done_callback(_report_failure)

    def take(self, name: str) -> asyncio.Task[None] | None:
        """Stop keeping a task, and give it to the caller."""
        return self._running.pop(name, None)

    def cancel(self, *names: str) -> None:
        """Cancels these, or all. A task that calls this runs to its end."""
        for name in names or tuple(self._running):
            task = self.take(name)
            if task is not None and task is not asyncio.current_task():
                task.cancel()


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("a replica's task failed", exc_info=error)
