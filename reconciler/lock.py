"""One process per state folder: an advisory lock that the kernel drops when its holder dies,
however it dies.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class Locked(Exception):
    """Another process holds the folder; `pid` says which."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        super().__init__(
            f"{folder} is in use by process {pid}; only one daemon may run on a state directory"
        )
        self.pid = pid


class FolderLock:
    """A context manager around `<folder>/lock`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _written(self._file)
            os.close(self._file)
            raise Locked(self.path.parent, pid) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)


def holder(path: Path) -> int | None:
    """The pid of the process that holds the lock file, None when nobody does."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _written(file)
    finally:
        os.close(file)


def _written(file: int) -> int | None:
    text = os.pread(file, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdigit() else None
