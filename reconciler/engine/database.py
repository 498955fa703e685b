"""The SQLite file behind `store`. It is a cache: when it cannot be opened, written or read, the
daemon goes on with a copy in memory, says so, and returns to the file when the disk lets it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MEMORY = ":memory:"
Value = str | int | float | None  # what a statement takes
Row = tuple[Any, ...]  # what sqlite3 gives; each reader knows the columns that it asked for
# Errors of the disk or the file, not of a statement: https://www.sqlite.org/rescode.html
_FILE_ERRORS = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)
# Errors under which the file itself may be good, so it must not be put aside.
_NOT_ITS_FAULT = (_FILE_ERRORS - {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}) | {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
}


class Database:
    """`prepare` opens a file, or MEMORY, with its tables. `lost` says why the file is not used,
    empty while it is; `on_change` is called whenever that changes.
    """

    def __init__(
        self, connection: sqlite3.Connection, prepare: Callable[[Path | str], sqlite3.Connection]
    ) -> None:
        self.connection = connection
        self.lost = ""
        self.on_change: Callable[[], None] = lambda: None
        self._prepare = prepare
        self._path: Path | None = None
        self._open: list[tuple[str, tuple[Value, ...]]] | None = None  # of a transaction, so far

    @classmethod
    def keep(cls, path: Path, prepare: Callable[[Path | str], sqlite3.Connection]) -> Database:
        """The file if possible, else memory. Never raises for what is wrong with the file."""
        try:
            kept = cls(open_file(path, prepare), prepare)
        except (sqlite3.Error, OSError) as error:
            kept = cls(_recalled(path, prepare), prepare)
            kept.lost = _sentence(error)
        kept._path = path
        return kept

    def rows(self, statement: str, values: tuple[Value, ...]) -> list[Row]:
        try:
            found = self.connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            if self._path is None or self.lost or not _is_of_file(error):
                raise
            self._lose(error)
            found = self.connection.execute(statement, values).fetchall()
        if self._open is not None:
            self._open.append((statement, values))
        return found

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """What the block writes is there as a whole or not at all, whatever ends the process, and
        no other process writes meanwhile.
        """
        self._open = []
        try:
            self.rows("BEGIN IMMEDIATE", ())
            yield
            self.rows("COMMIT", ())
        finally:
            self._open = None
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def restore(self) -> None:
        """Go back to the file, with what memory holds, if the file can be used again.

        Raises:
            sqlite3.Error, OSError: it cannot.
        """
        if not self.lost or self._path is None:
            return
        fresh = open_file(self._path, self._prepare)
        try:
            self.connection.backup(fresh)
        except sqlite3.Error:
            fresh.close()
            raise
        self.connection.close()
        self.connection, self.lost = fresh, ""
        self.on_change()

    def _lose(self, error: sqlite3.Error) -> None:
        memory = self._prepare(MEMORY)
        try:
            if self.connection.in_transaction:  # which SQLite copies no file in
                self.connection.execute("ROLLBACK")
            self.connection.backup(memory)
        except sqlite3.Error:
            memory.close()
            memory = self._prepare(MEMORY)  # half a copy is worse than none
        for each in self._open or ():
            memory.execute(*each)
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        self.connection, self.lost = memory, _sentence(error)
        self.on_change()


def open_file(
    path: Path, prepare: Callable[[Path | str], sqlite3.Connection]
) -> sqlite3.Connection:
    """Open or create the file, readable by its owner alone. One that is no database of this release
    is put aside: it was only a cache.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Made by us before SQLite does, because its -wal and -shm files inherit the mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)
    try:
        return prepare(path)
    except sqlite3.DatabaseError as error:
        if _code(error) in _NOT_ITS_FAULT:
            raise
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{path}.unreadable{suffix}")
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        return prepare(path)


def _recalled(
    path: Path, prepare: Callable[[Path | str], sqlite3.Connection]
) -> sqlite3.Connection:
    """A copy in memory of a file that cannot be written; empty if it cannot be read either."""
    fresh = prepare(MEMORY)
    release = fresh.execute("PRAGMA user_version").fetchone()
    with contextlib.suppress(sqlite3.Error):
        # `immutable`: a disk without room or rights takes no lock files.
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        with contextlib.closing(source):
            if source.execute("PRAGMA user_version").fetchone() == release:
                copy = sqlite3.connect(MEMORY, isolation_level=None)
                source.backup(copy)
                copy.execute("SELECT count(*) FROM objects").fetchone()
                fresh.close()
                return copy
    return fresh


def _is_of_file(error: sqlite3.Error) -> bool:
    return _code(error) in _FILE_ERRORS


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _sentence(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
