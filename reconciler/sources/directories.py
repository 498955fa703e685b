"""Directory events from the operating system, for a set of directories that may vanish, come back
or change.

An event is only a hint that something may have happened: `files` reads the paths itself, and reads
them again now and then without one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import structlog
from watchfiles import awatch

_DEBOUNCE_MS = 50  # how long events are gathered at most; the quiet period is the caller's
_STEP_MS = 25
_RETRY_S = 1.0

log = structlog.get_logger()
Plan = tuple[
    frozenset[Path], frozenset[Path]
]  # watched for their own entries, watched with all below


class Directories:
    """Watches directories, never files: an editor that renames over a file ends a watch on it."""

    def __init__(
        self,
        wanted: Callable[[], Plan],
        touched: Callable[[Collection[Path]], None],
        missed: Callable[[], None],
    ) -> None:
        """`touched` is called with paths that had events, `missed` if events may have been lost."""
        self._wanted = wanted
        self._touched = touched
        self._missed = missed
        self._replan = asyncio.Event()
        self._complaint = ""

    def replan(self) -> None:
        """The wanted directories may have changed."""
        self._replan.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._replan.clear()
            plan = self._wanted()
            over = asyncio.Event()
            pumps = [
                asyncio.create_task(self._pump(plan, recursive, over))
                for recursive in (False, True)
            ]
            try:
                self._missed()
                await self._until_outdated(plan, pumps)
            finally:
                over.set()
                await asyncio.gather(*pumps, return_exceptions=True)

    async def _until_outdated(self, plan: Plan, pumps: list[asyncio.Task[None]]) -> None:
        while True:
            replan = asyncio.create_task(self._replan.wait())
            await asyncio.wait([*pumps, replan], return_when=asyncio.FIRST_COMPLETED)
            replan.cancel()
            ended = [pump for pump in pumps if pump.done()]
            for pump in ended:
                pump.result()  # raises its error for the caller of `run`
            if ended or self._wanted() != plan:
                return
            self._replan.clear()

    async def _pump(self, plan: Plan, recursive: bool, over: asyncio.Event) -> None:
        """Pass events on until `over`; ends early when a directory cannot be watched or
        went away.
        """
        paths = plan[recursive]
        if not paths:
            await over.wait()
            return
        events = awatch(
            *paths,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=over,
            recursive=recursive,
            ignore_permission_denied=True,
        )
        try:
            async for batch in events:
                touched = {Path(path) for _, path in batch}
                self._touched(touched)
                if touched & (plan[0] | plan[1]):
                    return  # a watched directory was removed or replaced: its watch is dead
                self.replan()
        except (OSError, RuntimeError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning(
                    "directories.unwatchable", error=str(error), directories=sorted(map(str, paths))
                )
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _RETRY_S)
        finally:
            with suppress(RuntimeError):
                await events.aclose()
