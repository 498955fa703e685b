"""Responses that were asked for in the background, as files on the share: what was asked, the
events so far, the answer, and which gateway works on it.

Blocking; background.py calls it in a thread.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, ValidationError

from serving.catalogue import Contract
from serving.gateway.records import share_time
from serving.untrusted import parse, read

RESPONSE_ID = re.compile(r"resp_[0-9a-f]{32}")
LARGEST = 64 << 20  # bytes of a request, or of an answer
_PIECE = 1 << 20  # bytes of events that are read at a time
_REQUEST, _ANSWER, _EVENTS, _OWNER = "request.json", "response.json", "events.jsonl", "owner.json"
Sign = Literal["cancel", "fetched"]


class StoredRequest(Contract):
    """The request, and who asked. `service` is the only one that the caller's key opens, `fallback`
    the `service/model` that may answer instead, `limits` what KeyLimits.header made of the key's.
    """

    id: str
    caller: str
    model: str
    service: str | None = None
    fallback: str | None = None
    evaluation: bool = False
    limits: str = ""
    created_at: AwareDatetime
    body: dict[str, Any]


class ResponseFiles:
    """A folder for each response, `<data>/responses/<id>/`. Ids must match RESPONSE_ID. Ages are by
    the share's time, because gateways run on machines whose clocks may differ.
    """

    def __init__(self, data: Path, replica: str) -> None:
        self._folder, self._replica = data / "responses", replica
        self._clock = partial(share_time, data, replica)

    def ids(self) -> list[str]:
        try:
            return sorted(p.name for p in self._folder.iterdir() if RESPONSE_ID.fullmatch(p.name))
        except OSError:
            return []

    def create(self, stored: StoredRequest) -> None:
        """Raises OSError."""
        folder = self._folder / stored.id
        folder.mkdir(parents=True)
        self.claim(stored.id)
        _write(folder / _REQUEST, stored.model_dump_json(by_alias=True).encode())

    def request(self, name: str) -> StoredRequest | None:
        try:
            value = parse(read(self._folder / name / _REQUEST, LARGEST), LARGEST)
            return StoredRequest.model_validate(value)
        except (OSError, ValueError, ValidationError):
            return None

    def answer(self, name: str) -> dict[str, Any] | None:
        """The finished response."""
        try:
            value = parse(read(self._folder / name / _ANSWER, LARGEST), LARGEST)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def finished(self, name: str) -> bool:
        return (self._folder / name / _ANSWER).exists()

    def finish(self, name: str, answer: dict[str, Any]) -> None:
        """Raises OSError."""
        _write(self._folder / name / _ANSWER, json.dumps(answer).encode())

    def begin(self, name: str) -> None:
        """Delete the events of an unfinished try. Raises OSError."""
        with (self._folder / name / _EVENTS).open("wb"):
            pass

    def append(self, name: str, lines: bytes) -> None:
        """Raises OSError."""
        with (self._folder / name / _EVENTS).open("ab") as file:
            file.write(lines)

    def events(self, name: str, offset: int) -> tuple[list[bytes], int]:
        """Whole lines from a place in the file on, and the place after them. If the file is
        shorter, from its start, because the response was begun again.
        """
        try:
            with (self._folder / name / _EVENTS).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                start = offset if offset <= size else 0
                file.seek(start)
                data = file.read(_PIECE)
                if b"\n" not in data and len(data) == _PIECE:
                    data += file.readline(LARGEST)
        except OSError:
            return [], offset
        whole = data[: data.rfind(b"\n") + 1]
        return whole.splitlines(), start + len(whole)

    def next_number(self, name: str) -> int:
        """The number behind that of the last event."""
        number, offset = 0, 0
        while True:
            lines, offset = self.events(name, offset)
            if not lines:
                return number
            number = int(json.loads(lines[-1])["sequence_number"]) + 1

    def claim(self, name: str) -> None:
        """Claim the response for this replica. Raises OSError."""
        # The time is for gateways of an earlier release, which know no other.
        owner = {"replica": self._replica, "heartbeat": time.time()}
        _write(self._folder / name / _OWNER, json.dumps(owner).encode())

    def release(self, name: str) -> None:
        """Release the claim, so that another gateway can continue at once."""
        with suppress(OSError):
            (self._folder / name / _OWNER).unlink()

    def owner(self, name: str) -> tuple[str, float]:
        """The gateway that works on it, and the seconds since its last sign of life."""
        path = self._folder / name / _OWNER
        try:
            return str(parse(read(path))["replica"]), self._clock() - path.stat().st_mtime
        except (OSError, ValueError, KeyError, TypeError):
            return "", float("inf")

    def put(self, name: str, sign: Sign) -> None:
        """Raises OSError."""
        path = self._folder / name / sign
        if not path.exists():
            _write(path, b"")

    def since(self, name: str, sign: Sign) -> float | None:
        """For how many seconds the sign has been there."""
        try:
            return self._clock() - (self._folder / name / sign).stat().st_mtime
        except OSError:
            return None

    def remove(self, name: str) -> None:
        shutil.rmtree(self._folder / name, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_bytes(data)
    scratch.replace(path)
