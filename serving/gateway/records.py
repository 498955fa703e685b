"""The files that a gateway writes: its state and lines of usage. world.py calls this in a thread,
so that a share that hangs holds up no request.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from serving.gateway.routes import GatewayState, LearnedStart, UsageLine
from serving.untrusted import parse, read

STATE = "state.json"
ALIVE = 45.0  # seconds since a replica has written its state
_AGAIN = 12  # looks after which replicas that were gone are looked at again
log = logging.getLogger("moorage.gateway")


def share_time(data: Path, replica: str) -> float:
    """What time it is on the share, in seconds since 1970 and a few seconds late: when this replica
    last wrote its state there; before, the machine's. Blocking.
    """
    try:
        return (data / "usage" / replica / STATE).stat().st_mtime
    except OSError:
        return time.time()


class Records:
    """`<data>/usage/<replica>/`, which this replica alone writes. Blocking."""

    def __init__(self, data: Path, replica: str) -> None:
        self._all = data / "usage"
        self._folder = self._all / replica
        self._gone: set[str] = set()
        self._looks = 0

    def append(self, lines: Iterable[UsageLine]) -> None:
        """Add lines to the files of their days. A line that a crash cut is ended first.

        Raises:
            OSError: nothing is certain to be written.
        """
        by_day: dict[str, list[bytes]] = defaultdict(list)
        for line in lines:
            text = line.model_dump_json(by_alias=True, exclude_defaults=True)
            by_day[line.day].append(text.encode() + b"\n")
        if by_day:
            self._folder.mkdir(parents=True, exist_ok=True)
        for day, texts in by_day.items():
            with (self._folder / f"{day}.jsonl").open("a+b") as file:
                cut, end = False, file.seek(0, os.SEEK_END)
                if end:
                    file.seek(end - 1)
                    cut = file.read(1) != b"\n"
                file.write(b"\n" * cut + b"".join(texts))
                # Written to disk before it returns, because the caller then drops these lines.
                file.flush()
                os.fsync(file.fileno())

    def save(self, state: GatewayState) -> None:
        """Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        scratch = self._folder / f".{STATE}.tmp"
        scratch.write_bytes(state.model_dump_json(by_alias=True).encode())
        scratch.replace(self._folder / STATE)

    def replicas(self) -> int:
        """How many replicas of this gateway run, by the times of their states beside that of its
        own, all of them the share's; at least this one. Raises OSError.
        """
        now = share_time(self._all.parent, self._folder.name)
        self._looks += 1
        if self._looks % _AGAIN == 0:
            self._gone.clear()
        count = 0
        for folder in self._all.iterdir():
            if folder.name in self._gone:
                continue
            try:
                age = now - (folder / STATE).stat().st_mtime
            except OSError:
                continue  # it is about to write its first
            if age > ALIVE:
                self._gone.add(folder.name)  # most folders are of replicas that are gone
            else:
                count += 1
        return max(1, count)

    def learned(self) -> tuple[LearnedStart, ...]:
        """What the newest of all replicas' states has learned, by the share's times: a new revision
        goes on from it.
        """
        newest = float("-inf")
        learned: tuple[LearnedStart, ...] = ()
        try:
            folders = list(self._all.iterdir())
        except OSError:
            return ()
        for folder in folders:
            try:
                written = (folder / STATE).stat().st_mtime
                state = GatewayState.model_validate(parse(read(folder / STATE)))
            except (OSError, ValueError, ValidationError):
                continue
            if written > newest:
                newest, learned = written, state.learned
        return learned
