"""The state file is a cache. While it cannot be used the daemon goes on from memory and says so
once; this edge goes back to the file as soon as that works.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from reconciler.api.reasons import Reason
from reconciler.edges.edge import Edge
from reconciler.engine.database import Database
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import DocumentRef

log = structlog.get_logger(__name__)
EVERY = 30.0  # seconds between two tries
PLACE = DocumentRef("Daemon", "the state directory")


class StateFile(Edge):
    """`path` is the file of `database`; `tell` takes the events."""

    name = "the state directory"

    def __init__(self, database: Database, path: Path, tell: Callable[[Event], None]) -> None:
        self._database, self._path, self._tell = database, path, tell
        database.on_change = self._say
        if database.lost:
            self._say()

    async def wait(self) -> None:
        await asyncio.sleep(EVERY)

    async def act(self) -> None:
        with suppress(sqlite3.Error, OSError):  # said when the file was lost; nothing is new
            self._database.restore()

    def _say(self) -> None:
        """Report that the file cannot be used, or that it is used again."""
        if why := self._database.lost:
            message = f"{self._path} cannot be used ({why}); the daemon goes on from memory"
            self._tell(warning(Reason.STATE_NOT_KEPT, message, PLACE, PLACE))
        else:
            message = f"{self._path} is used again"
            self._tell(normal(Reason.RECOVERED, message, PLACE, PLACE))
        log.warning("state", message=message)
        with suppress(OSError, ValueError):
            print(message, file=sys.stderr, flush=True)
