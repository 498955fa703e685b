"""The files that a gateway writes: its state and lines of usage. world.py calls this in a thread,
so that a share that hangs holds up no request.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from serving.gateway.routes import GatewayState, LearnedStart, UsageLine
from serving.untrusted import parse, read

STATE = "state.json"
log = logging.getLogger("moorage.gateway")


class Records:
    """`<data>/usage/<replica>/`, which this replica alone writes. Blocking."""

    def __init__(self, data: Path, replica: str) -> None:
        self._all = data / "usage"
        self._folder = self._all / replica

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
                # On the disk before it returns, because the caller then forgets these lines.
                file.flush()
                os.fsync(file.fileno())

    def save(self, state: GatewayState) -> None:
        """Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        scratch = self._folder / f".{STATE}.tmp"
        scratch.write_bytes(state.model_dump_json(by_alias=True).encode())
        scratch.replace(self._folder / STATE)

    def learned(self) -> tuple[LearnedStart, ...]:
        """What the newest of all replicas' states has learned: a new revision goes on from it."""
        states = []
        try:
            folders = list(self._all.iterdir())
        except OSError:
            return ()
        for folder in folders:
            try:
                states.append(GatewayState.model_validate(parse(read(folder / STATE))))
            except (OSError, ValueError, ValidationError):
                continue
        newest = max(states, key=lambda state: state.heartbeat, default=None)
        return newest.learned if newest else ()
