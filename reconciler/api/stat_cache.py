"""Hashes of files by their stamp, in SQLite. A cache: losing it costs one more reading, nothing
else.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

_TABLE = """CREATE TABLE IF NOT EXISTS hashes (
    folder TEXT, file TEXT, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode TEXT,
    sha256 TEXT,
    PRIMARY KEY (folder, file)) WITHOUT ROWID"""


class Stamp(NamedTuple):
    """The metadata that changes with a file's content. `ctime_ns` catches writers that set the
    modification time back.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: str  # text: an inode number can exceed SQLite's integers

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, str(status.st_ino))


class StatCache:
    """One file, any number of folders and threads. A file that is no database is replaced by an
    empty one; where none can be made, hashes are kept in memory.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = _open_or_forget(path)

    def read(self, folder: Path) -> dict[str, tuple[Stamp, str]]:
        """What is known of the files below `folder`, by relative path; nothing when the cache
        cannot be read.
        """
        query = "SELECT file, size, mtime_ns, ctime_ns, inode, sha256 FROM hashes WHERE folder = ?"
        try:
            with self._lock:
                rows = self._connection.execute(query, (_key(folder),)).fetchall()
        except (sqlite3.Error, UnicodeError):
            return {}
        return {file: (Stamp(*stamp), sha256) for file, *stamp, sha256 in rows}

    def write(
        self, folder: Path, fresh: Mapping[str, tuple[Stamp, str]], gone: Collection[str] = ()
    ) -> None:
        """Remember `fresh` and forget `gone`; a cache that cannot be written is no error, only
        slow.
        """
        key = _key(folder)
        rows = [(key, file, *stamp, sha256) for file, (stamp, sha256) in fresh.items()]
        with suppress(sqlite3.Error, UnicodeError), self._lock, self._connection:
            self._connection.executemany(
                "DELETE FROM hashes WHERE folder = ? AND file = ?", [(key, file) for file in gone]
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _open_or_forget(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _open(path)
    except (sqlite3.Error, OSError):
        pass
    try:
        path.unlink(missing_ok=True)
        return _open(path)
    except (sqlite3.Error, OSError):
        return _open(":memory:")


def _open(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(_TABLE)
        connection.execute(
            "SELECT folder, file, size, mtime_ns, ctime_ns, inode, sha256 FROM hashes LIMIT 1"
        )
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _key(folder: Path) -> str:
    return str(folder.absolute())
