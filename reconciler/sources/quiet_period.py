"""Whether somebody still writes to a folder on a share: a read during an upload gets half of it.
`mirror` and `model_sizes` ask before they read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from reconciler.arm import files

Stamps = Mapping[str, str]  # etags by path


def stamps_of(listed: Mapping[str, files.Entry]) -> Stamps:
    return {name: entry.etag for name, entry in listed.items()}


class QuietPeriod:
    """For how many `seconds` a folder must be unchanged before it is read."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self._seen: dict[str, tuple[Stamps, float]] = {}  # the last listing, and since when

    def is_over(self, place: str, listed: Mapping[str, files.Entry], now: datetime) -> bool:
        """Whether nobody has written to `place` for so many seconds: by Azure's own clock, `now`,
        or because two looks that far apart saw the same.
        """
        stamps = stamps_of(listed)
        before, since = self._seen.get(place, ({}, 0.0))
        if stamps != before:
            since = self.clock()
            self._seen[place] = (stamps, since)
        old = now - timedelta(seconds=self.seconds)
        rested = all(entry.modified and entry.modified <= old for entry in listed.values())
        return rested or self.clock() - since >= self.seconds
