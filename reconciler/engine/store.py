"""The daemon's memory: one SQLite file, a cache. Losing it costs at most one idempotent rewrite;
`ledger` reads it at start.

One process writes (the daemon), others read while it does (WAL). Every row belongs to a target, so
that one state directory can serve several. Calls are synchronous on purpose: a row takes some ten
microseconds, and none waits for a disk.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from reconciler.api.conditions import Condition, ConditionSet
from reconciler.api.reasons import Reason, read_reason
from reconciler.engine.database import MEMORY, Database, Row, Value, open_file
from reconciler.engine.events import Event, EventType
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord

VERSION = 1
MAX_EVENTS = 1000
SET_ID = "set-id"  # of the set that was run last: the one that readers are shown
SEPARATOR = "\t"

_TABLES = """
CREATE TABLE documents (
  target TEXT, kind TEXT, name TEXT, digest TEXT, generation INTEGER, observed INTEGER DEFAULT 0,
  scope TEXT DEFAULT '', prune INTEGER DEFAULT 0, conditions TEXT DEFAULT '[]',
  PRIMARY KEY (target, kind, name)) WITHOUT ROWID;
CREATE TABLE objects (
  target TEXT, kind TEXT, name TEXT, record TEXT, PRIMARY KEY (target, kind, name)) WITHOUT ROWID;
CREATE TABLE approvals (
  target TEXT, kind TEXT, name TEXT, verb TEXT,
  PRIMARY KEY (target, kind, name, verb)) WITHOUT ROWID;
CREATE TABLE facts (target TEXT, name TEXT, value TEXT, PRIMARY KEY (target, name)) WITHOUT ROWID;
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT, type TEXT, reason TEXT, message TEXT,
  object TEXT, document_kind TEXT, document_name TEXT, fields TEXT, count INTEGER,
  first REAL, last REAL);
CREATE INDEX events_same ON events (target, object, reason);
"""


@dataclass(frozen=True)
class DocumentRow:
    """What is stored of a document: no spec, only its digest. `observed` is the generation all its
    objects were seen at.
    """

    ref: DocumentRef
    generation: int
    observed: int
    scope: str
    prune: bool
    conditions: tuple[Condition, ...]


class Store:
    """Open with `Store.keep` in the daemon, with `Store.open` to write from another process, with
    `Store.read` to look, with `Store.copy` to plan without a trace.
    """

    def __init__(self, database: Database, target: str) -> None:
        self.database = database
        self.target = target

    @classmethod
    def open(cls, path: Path | str, target: str) -> Store:
        """Open or create the file, readable by its owner alone. An unreadable file is put aside: it
        was only a cache.

        Raises:
            sqlite3.Error, OSError: the file cannot be used.
        """
        connection = _prepared(MEMORY) if str(path) == MEMORY else open_file(Path(path), _prepared)
        return cls(Database(connection, _prepared), target)

    @classmethod
    def keep(cls, path: Path, target: str) -> Store:
        """Open or create the file, or go on without it; `database.lost` says why."""
        return cls(Database.keep(path, _prepared), target)

    @classmethod
    def read(cls, path: Path, target: str) -> Store | None:
        """A view for `status` and `events`, also while the daemon writes; None when there is
        nothing to read yet.
        """
        try:
            db = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, timeout=5)
            db.execute("PRAGMA query_only = ON")
            if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                db.close()
                return None
            for table in ("documents", "objects", "facts", "events"):  # a damaged file says so now
                db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - names of our own
            store = cls(Database(db, _prepared), target)
            return store.of_set(store.get(SET_ID))
        except sqlite3.DatabaseError:
            return None

    @classmethod
    def copy(cls, path: Path, target: str) -> Store:
        """A copy in memory: nothing that is written to it is kept."""
        memory, source = cls.open(MEMORY, target), cls.read(path, target)
        if source is not None:
            with contextlib.suppress(sqlite3.Error):  # a damaged one is as good as none
                source.database.connection.backup(memory.database.connection)
            source.close()
        return memory

    def of_target(self) -> Store:
        """The facts of the target itself, which all sets share: which of them was run last."""
        return self.of_set(None)

    def of_set(self, set_id: str | None) -> Store:
        """The rows of one set of documents; sets know nothing of each other."""
        target = self.target.partition(SEPARATOR)[0]
        return Store(self.database, f"{target}{SEPARATOR}{set_id}" if set_id else target)

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Commit everything that the block writes, or nothing. The block must not await."""
        return self.database.transaction()

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # a full disk cannot take the last checkpoint
            self.database.connection.close()

    # documents

    def generation(self, ref: DocumentRef, digest: str) -> int:
        """Remember a document by the `digest` of its spec. Returns its generation, which rises only
        when the digest changes.
        """
        row = self._one(
            "SELECT digest, generation FROM documents WHERE target=? AND kind=? AND name=?", *ref
        )
        generation = 1 if row is None else int(row[1]) + (row[0] not in (None, digest))
        if row is None or row[0] != digest:
            self._write(
                "INSERT INTO documents (target, kind, name, digest, generation) VALUES (?, ?, ?, ?,"
                " ?) ON CONFLICT DO UPDATE SET digest=excluded.digest,"
                " generation=excluded.generation",
                *ref,
                digest,
                generation,
            )
        return generation

    def put_document(self, ref: DocumentRef, generation: int, scope: str, prune: bool) -> None:
        self._write(
            "INSERT INTO documents (target, kind, name, generation, scope, prune) VALUES (?, ?, ?,"
            " ?, ?, ?) ON CONFLICT DO UPDATE SET scope=excluded.scope, prune=excluded.prune,"
            " generation=excluded.generation",
            *ref,
            generation,
            scope,
            prune,
        )

    def put_conditions(self, ref: DocumentRef, observed: int, conditions: ConditionSet) -> None:
        self._write(
            "UPDATE documents SET observed=?2, conditions=?3 WHERE target=?1 AND kind=?4 AND"
            " name=?5",
            observed,
            json.dumps(conditions.dump()),
            *ref,
        )

    def drop_document(self, ref: DocumentRef) -> None:
        self._write("DELETE FROM documents WHERE target=? AND kind=? AND name=?", *ref)

    def documents(self) -> tuple[DocumentRow, ...]:
        rows = self._all(
            "SELECT kind, name, generation, observed, scope, prune, conditions FROM documents WHERE"
            " target=?"
        )
        return tuple(
            DocumentRow(
                DocumentRef(kind, name),
                generation,
                observed,
                scope,
                bool(prune),
                _conditions(conditions),
            )
            for kind, name, generation, observed, scope, prune, conditions in rows
        )

    # objects

    def put_object(self, record: ObjectRecord) -> None:
        self._write(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", *record.key, record.dump()
        )

    def drop_object(self, key: ObjectKey) -> None:
        self._write("DELETE FROM objects WHERE target=? AND kind=? AND name=?", *key)

    def objects(self) -> tuple[ObjectRecord, ...]:
        """All records; one that an older release wrote and this one cannot read is left out, as if
        it had been lost.
        """
        return tuple(
            _readable(self._all("SELECT record FROM objects WHERE target=? ORDER BY kind, name"))
        )

    # approvals

    def approve(self, key: ObjectKey, verb: str) -> None:
        """Let `verb` (`delete` or `replace`) be done to the object, once."""
        self._write("INSERT OR IGNORE INTO approvals VALUES (?, ?, ?, ?)", *key, verb)

    def approved(self, key: ObjectKey, verb: str) -> bool:
        found = self._one(
            "SELECT 1 FROM approvals WHERE target=? AND kind=? AND name=? AND verb=?", *key, verb
        )
        return found is not None

    def revoke(self, key: ObjectKey, verb: str) -> None:
        if self.approved(key, verb):
            self._write(
                "DELETE FROM approvals WHERE target=? AND kind=? AND name=? AND verb=?", *key, verb
            )

    # events

    def add_event(self, event: Event, now: float) -> None:
        """Append, or count one more of the same; the oldest beyond `MAX_EVENTS` of the target are
        forgotten. Their order is that of their ids, for `now` is a clock that can jump.
        """
        same = self._one(
            "SELECT id FROM events WHERE target=? AND object=? AND reason=? AND type=? AND"
            " message=? ORDER BY id DESC",
            event.object,
            event.reason,
            event.type,
            event.message,
        )
        # Counted, because one cause that repeats all night would push everything else out. Of what
        # a person decides, each time is kept, unless nothing else was decided in between.
        if same is not None and (event.reason != Reason.DECIDED or self._is_last(event, same[0])):
            self.database.rows(
                "UPDATE events SET count=count+1, last=?, id=(SELECT max(id)+1 FROM events)"
                " WHERE id=?",
                (now, same[0]),
            )
            return
        self._write(
            "INSERT INTO events (target, type, reason, message, object, document_kind,"
            " document_name, fields, count, first, last) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
            event.type,
            event.reason,
            event.message,
            event.object,
            *event.document,
            json.dumps(event.fields),
            now,
            now,
        )
        self._write(
            "DELETE FROM events WHERE target=?1 AND id NOT IN"
            " (SELECT id FROM events WHERE target=?1 ORDER BY id DESC LIMIT ?2)",
            MAX_EVENTS,
        )

    def _is_last(self, event: Event, number: int) -> bool:
        """Whether no later event of this reason is about the same object."""
        newest = self._one(
            "SELECT max(id) FROM events WHERE target=? AND object=? AND reason=?",
            event.object,
            event.reason,
        )
        return newest is not None and newest[0] == number

    def events(
        self, document: DocumentRef | None = None, limit: int = MAX_EVENTS
    ) -> tuple[Event, ...]:
        """The latest `limit` events, oldest first."""
        rows = self._all(
            "SELECT type, reason, message, object, document_kind, document_name, fields, count,"
            " first, last FROM events WHERE target=? ORDER BY id DESC"
        )
        events = [_event(row) for row in rows]
        return tuple(
            reversed([event for event in events if document in (None, event.document)][:limit])
        )

    # small facts

    def get(self, name: str) -> str | None:
        row = self._one("SELECT value FROM facts WHERE target=? AND name=?", name)
        return None if row is None else str(row[0])

    def starting(self, prefix: str) -> dict[str, str]:
        """The facts whose name starts with `prefix`, by the rest of their name. One call, however
        many documents might have one.
        """
        rows = self._all(
            "SELECT name, value FROM facts WHERE target=? AND name >= ? AND name < ?",
            prefix,
            f"{prefix[:-1]}{chr(ord(prefix[-1]) + 1)}",
        )
        return {str(name)[len(prefix) :]: str(value) for name, value in rows}

    def put(self, name: str, value: str | None) -> None:
        """Keep a small text under a name; None removes it."""
        if value is None:
            self._write("DELETE FROM facts WHERE target=? AND name=?", name)
        elif self.get(name) != value:
            self._write("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", name, value)

    def _one(self, statement: str, *values: Value) -> Row | None:
        return next(iter(self._all(statement, *values)), None)

    def _all(self, statement: str, *values: Value) -> list[Row]:
        return self.database.rows(statement, (self.target, *values))

    def _write(self, statement: str, *values: Value) -> None:
        self.database.rows(statement, (self.target, *values))


def _prepared(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # No write waits for the disk. A power cut may lose the last rows, which a cache can afford.
        db.execute("PRAGMA synchronous = NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"written by another release: {version}")
        if version == 0:
            db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        db.execute("SELECT count(*) FROM objects").fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _readable(rows: Iterable[Row]) -> Iterator[ObjectRecord]:
    for (text,) in rows:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            yield ObjectRecord.load(text)


def _conditions(text: str) -> tuple[Condition, ...]:
    return tuple(ConditionSet.load(lambda: datetime.now(UTC), json.loads(text)))


def _event(row: Row) -> Event:
    kind, reason, message, about, document_kind, document_name, fields, count, first, last = row
    event = Event(
        EventType(kind),
        read_reason(reason),
        message,
        about,
        DocumentRef(document_kind, document_name),
        tuple(json.loads(fields)),
    )
    return replace(event, count=count, first=first, last=last)
