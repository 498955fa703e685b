"""What this Azure knows, in one SQLite file: resources, running operations, generated settings.

Every public call commits before it returns (WAL), so a kill -9 at any moment leaves the last
answered request true. Used from the server's event loop only; the providers are its users.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = """
create table if not exists resources (
    seq integer primary key autoincrement, key text unique not null,
    id text not null, kind text not null,
    body text not null, private text not null);
create index if not exists resources_kind on resources (kind, key);
create table if not exists operations (
    id text primary key, resource text not null, finish text not null,
    argument text not null, started real not null,
    due real not null, status text not null, error text);
create index if not exists operations_open on operations (status, resource);
create table if not exists activity (
    seq integer primary key autoincrement, at real not null, event text not null);
create index if not exists activity_at on activity (at);
create table if not exists activity_open (operation text primary key, event text not null);
create table if not exists settings (name text primary key, value text not null);
"""


@dataclass
class Record:
    """A stored resource. `id` is the id as clients see it, `kind` its type in lower case.

    `body` is what the provider shows from; `private` holds what Azure never returns (secrets, keys)
    and its own bookkeeping.
    """

    id: str
    kind: str
    body: dict[str, Any] = field(default_factory=dict)
    private: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.id.lower()

    @property
    def name(self) -> str:
        return self.id.rsplit("/", 1)[-1]

    @property
    def group(self) -> str:
        return self.id.split("/")[4]


def _use_log(database: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, with retries. SQLite does not wait for a lock here, in spite
    of the connection's timeout, so a reader of a new file would end the server.
    """
    for _ in range(100):
        try:
            database.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError:
            time.sleep(0.1)
    database.execute("pragma journal_mode = wal")


class Store:
    """One connection, one process. `version` grows with every write, so that readers may cache
    between writes.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self.version = 0
        self._depth = 0
        self._database = sqlite3.connect(path, isolation_level=None, timeout=10)
        _use_log(self._database)
        self._database.execute("pragma synchronous = normal")
        self._database.executescript(SCHEMA)
        for beside in path.parent.glob(path.name + "-*"):
            beside.chmod(0o600)

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes, all or none; may be nested, the outermost commits."""
        self.version += 1
        if self._depth:
            yield
            return
        self._depth += 1
        # At once, because a lock that comes with the first write could fail half-way.
        self._database.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._database.execute("rollback")
            raise
        else:
            self._database.execute("commit")
        finally:
            self._depth -= 1

    def get(self, key: str) -> Record | None:
        row = self._database.execute(
            "select id, kind, body, private from resources where key = ?", (key.lower(),)
        ).fetchone()
        return _record(row) if row else None

    def put(self, record: Record) -> None:
        """Write a resource. A new one comes last in lists, a known one keeps its place."""
        self.version += 1
        values = (
            record.key,
            record.id,
            record.kind,
            json.dumps(record.body),
            json.dumps(record.private),
        )
        self._database.execute(
            # Not `insert or replace`, which would give a known resource a new place in lists.
            "insert into resources (key, id, kind, body, private) values (?, ?, ?, ?, ?) on"
            " conflict (key) do update set body = excluded.body, private = excluded.private",
            values,
        )

    def delete(self, key: str) -> None:
        """Remove the resource, everything below it, and the leases on them."""
        self.version += 1
        # A range of keys instead of LIKE, because names may hold its wildcards; `0` follows `/`.
        low = key.lower()
        self._database.execute(
            "delete from resources where key = ? or (key > ? and key < ?)",
            (low, low + "/", low + "0"),
        )
        lease = f"lease:{low}"
        self._database.execute(
            "delete from settings where name = ? or (name > ? and name < ?)",
            (lease, lease + "/", lease + "0"),
        )

    def each(self, kind: str, prefix: str = "") -> list[Record]:
        """The resources of a type below an id (or all), oldest first."""
        return [_record(row) for row in self._of("id, kind, body, private", kind, prefix)]

    def keys(self, kind: str, prefix: str = "") -> list[str]:
        """The keys of what `each` gives, without reading it."""
        return [key for (key,) in self._of("key", kind, prefix)]

    def _of(self, columns: str, kind: str, prefix: str) -> Iterator[Any]:
        low = prefix.lower().rstrip("/")
        query = f"select {columns} from resources where kind = ?"  # noqa: S608 - our own names
        arguments: tuple[str, ...] = (kind.lower(),)
        if low:
            query += " and key > ? and key < ?"
            arguments = (*arguments, low + "/", low + "0")
        return self._database.execute(query + " order by seq", arguments)

    def below(self, prefix: str) -> list[Record]:
        """Everything under an id, oldest first."""
        low = prefix.lower().rstrip("/")
        query = (
            "select id, kind, body, private from resources where key > ? and key < ? order by seq"
        )
        return [_record(row) for row in self._database.execute(query, (low + "/", low + "0"))]

    def setting(self, name: str, make: Callable[[], str]) -> str:
        """A value generated once and kept; `make` is called the first time only."""
        known = self.read(name)
        if known is None:
            known = make()
            self.keep(name, known)
        return known

    def read(self, name: str) -> str | None:
        row = self._database.execute(
            "select value from settings where name = ?", (name,)
        ).fetchone()
        return str(row[0]) if row else None

    def keep(self, name: str, value: str | None) -> None:
        """Write a setting; None removes it."""
        if value is None:
            self._database.execute("delete from settings where name = ?", (name,))
        else:
            self._database.execute("insert or replace into settings values (?, ?)", (name, value))

    def execute(self, query: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Direct access for the operations table."""
        return self._database.execute(query, arguments).fetchall()


def _record(row: tuple[str, str, str, str]) -> Record:
    return Record(row[0], row[1], json.loads(row[2]), json.loads(row[3]))
