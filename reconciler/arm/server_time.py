"""Azure's time: the `Date` of its latest answer plus the time since, by a clock that cannot jump.

Times that Azure or a replica wrote are compared with it and never with this machine's time of day,
which may be wrong or be changed. `clients` feeds it from every answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_COARSE = 2.0  # a Date has whole seconds, and answers are under way for a while


class ServerTime:
    """Before the first answer it is the machine's time of day."""

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._elapsed = elapsed
        self._start: datetime | None = None  # the server's time when `elapsed` was 0

    def saw(self, date: str | None) -> None:
        """Take over the `Date` of an answer that has just arrived; anything else is ignored."""
        try:
            sent = parsedate_to_datetime(date or "")
        except ValueError:
            return
        start = sent.replace(tzinfo=sent.tzinfo or UTC) - timedelta(seconds=self._elapsed())
        # Of dates cut to seconds the latest is the closest, unless the server set its own clock.
        if (
            self._start is None
            or start > self._start
            or (self._start - start).total_seconds() > _COARSE
        ):
            self._start = start

    def now(self) -> datetime:
        if self._start is None:
            return datetime.now(UTC)
        return self._start + timedelta(seconds=self._elapsed())
