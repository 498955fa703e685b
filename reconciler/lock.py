"""One process per state folder: an advisory lock that the kernel drops when its holder dies,
however it dies.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

_BEYOND = 1 << 20  # the locked byte lies behind everything that is written


class Locked(Exception):
    """Another process holds the folder; `pid` says which."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        super().__init__(
            f"{folder} is in use by process {pid}; only one daemon may run on a state directory"
        )
        self.pid = pid


class LockLost(Exception):
    """Somebody removed or replaced the lock file of a running daemon."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was removed or replaced while this daemon ran: another one may run by now, so"
            " this one ends"
        )


class FolderLock:
    """A context manager around `<folder>/lock`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"

    def __enter__(self) -> Self:
        self._file = self._opened()
        if self._file is None:
            return self
        try:
            _take(self._file)
        except BlockingIOError:
            pid = _written(self._file)
            os.close(self._file)
            raise Locked(self.path.parent, pid) from None
        self._write(str(os.getpid()))
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._write("")
            os.close(self._file)

    def lost(self) -> bool:
        """Whether the file was removed or replaced, so that another process may hold its name."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return True
        except OSError:
            return False  # a disk error does not mean that another process has the lock

    def _opened(self) -> int | None:
        """The lock file; None where the folder can hold none, and then the lease on the share alone
        keeps two daemons apart.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError:
            pass
        try:
            return os.open(self.path, os.O_RDONLY)  # a lock needs no room and no right to write
        except OSError:
            return None

    def _write(self, text: str) -> None:
        with suppress(OSError):  # it only tells people who holds the lock
            assert self._file is not None
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, text.encode())


def holder(path: Path) -> int | None:
    """The pid of the process that holds the lock file, None when nobody does."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        _take(file)
        return None
    except BlockingIOError:
        return _written(file)
    finally:
        os.close(file)


def _written(file: int) -> int | None:
    os.lseek(file, 0, os.SEEK_SET)
    text = os.read(file, 32).decode(errors="replace").strip()
    return int(text) if text.isdigit() else None


def _take(file: int) -> None:
    """Lock the open file, until it is closed.

    Raises:
        BlockingIOError: another process holds it.
    """
    if sys.platform == "win32":
        import msvcrt

        # A lock of Windows keeps others from reading what it covers, and they read the pid.
        os.lseek(file, _BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
