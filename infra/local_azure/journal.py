"""The request journal: one JSON line per request, written before the answer goes out, so that a
kill -9 loses none.

The server appends; `python -m infra.local_azure journal` reads the file itself, with the server
running or not.
"""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

LIMIT = 64 * 1024 * 1024
_SECRET = {"sig", "t", "c", "s", "h"}


class Journal:
    """Appends to `path`; at 64 MiB the file becomes `<path>.1` and a new one begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()

    def write(
        self,
        *,
        client: str,
        method: str,
        path: str,
        query: str,
        status: int,
        plane: str,
        seconds: float,
        faults: Sequence[str] = (),
    ) -> None:
        """`status` 0 means that the connection was cut before anything was done. `faults` are the
        scripted faults that applied.
        """
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": short_client(client),
            "method": method,
            "path": path,
            "status": status,
            "plane": plane,
            "query": _harmless(query),
            "ms": round(seconds * 1000, 2),
            **({"faults": list(faults)} if faults else {}),
        }
        os.write(self._file, (json.dumps(entry) + "\n").encode())
        if os.fstat(self._file).st_size > LIMIT:
            self._rotate()

    def close(self) -> None:
        os.close(self._file)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _rotate(self) -> None:
        os.close(self._file)
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._file = self._open()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every entry, oldest first; a line torn by a kill is skipped."""
    for file in (path.with_name(path.name + ".1"), path):
        if not file.exists():
            continue
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def short_client(agent: str) -> str:
    """`azsdk-python-azure-mgmt-storage/25.3.0 Python/3.11 (Linux…)` -> the part that says who
    calls.
    """
    return agent.split(" Python/", 1)[0].split(" (", 1)[0][:80] or "-"


def _harmless(query: str) -> str:
    """The query without signatures."""
    if not query:
        return ""
    return urlencode(
        [
            (name, value)
            for name, value in parse_qsl(query, keep_blank_values=True)
            if name.lower() not in _SECRET
        ]
    )
