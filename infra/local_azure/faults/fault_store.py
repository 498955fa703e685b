"""The faults in force, in a SQLite file of their own.

Commands write it; the server and the ingress ask it which fault hits an event. It keeps the counts
too, so a restart, a kill -9 or a second process changes nothing. Whether a fault hits its n-th
event depends on the seed, the fault and n alone.
"""

import json
import os
import random
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .fault import Event, Fault

SCHEMA = """
create table if not exists faults (
    position integer primary key autoincrement, id text unique not null,
    body text not null, added real not null,
    matched integer not null default 0, hit integer not null default 0);
create table if not exists settings (name text primary key, value text not null);
"""


@dataclass(frozen=True)
class Entry:
    """A fault, when it was added, how many events matched it and how many of those it hit."""

    fault: Fault
    added: float
    matched: int
    hit: int

    @property
    def over(self) -> bool:
        """Whether it can hit no more."""
        spent = self.fault.times is not None and self.hit >= self.fault.times
        return spent or (
            self.fault.lasts is not None and time.time() > self.added + self.fault.lasts
        )


class FaultStore:
    """`path` is made when missing. Asking whether anything is scripted costs one pragma."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None, timeout=10)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")
        self._database.executescript(SCHEMA)
        self._seen: int | None = None
        self._faults: list[tuple[Fault, float]] = []
        self._seed = 0

    def close(self) -> None:
        self._database.close()

    def __bool__(self) -> bool:
        """Is anything scripted?"""
        self._look()
        return bool(self._faults)

    @property
    def seed(self) -> int:
        self._look()
        return self._seed

    def entries(self) -> list[Entry]:
        rows = self._database.execute(
            "select body, added, matched, hit from faults order by position"
        ).fetchall()
        return [Entry(_fault(body), added, matched, hit) for body, added, matched, hit in rows]

    def replace(self, faults: Iterable[Fault], seed: int) -> None:
        """Replace all faults by these, with their counts at 0."""
        self._database.execute("begin immediate")
        self._database.execute("delete from faults")
        self._database.execute("insert or replace into settings values ('seed', ?)", (str(seed),))
        for fault in faults:
            self._insert(fault)
        self._database.execute("commit")
        self._seen = None

    def add(self, fault: Fault) -> None:
        self._insert(fault)
        self._seen = None

    def clear(self, ids: Iterable[str] | None = None) -> int:
        """Remove these, or all; returns how many were removed."""
        before = self._database.total_changes
        if ids is None:
            self._database.execute("delete from faults")
        else:
            self._database.executemany("delete from faults where id = ?", [(each,) for each in ids])
        self._seen = None
        return self._database.total_changes - before

    def pick(self, event: Event, kinds: Iterable[str]) -> Fault | None:
        """The first fault of these kinds that hits this event. It and those before it count the
        event.
        """
        self._look()
        for fault, added in self._faults:
            if fault.kind in kinds and fault.matches(event) and self._hits(fault, added):
                event.hits.append(fault.id)
                return fault
        return None

    def standing(self, kinds: Iterable[str]) -> list[Fault]:
        """The faults of these kinds that are in force now, for kinds that have no events."""
        self._look()
        if not any(fault.kind in kinds for fault, _ in self._faults):
            return []
        return [
            entry.fault for entry in self.entries() if entry.fault.kind in kinds and not entry.over
        ]

    def _look(self) -> None:
        """Read the script again if another connection changed it."""
        (version,) = self._database.execute("pragma data_version").fetchone()
        if version == self._seen:
            return
        self._seen = version
        self._faults = [(entry.fault, entry.added) for entry in self.entries()]
        row = self._database.execute("select value from settings where name = 'seed'").fetchone()
        self._seed = int(row[0]) if row else 0

    def _hits(self, fault: Fault, added: float) -> bool:
        if fault.lasts is not None and time.time() > added + fault.lasts:
            return False
        self._database.execute("begin immediate")
        try:
            count = "update faults set matched = matched + 1 where id = ? returning matched, hit"
            row = self._database.execute(count, (fault.id,)).fetchone()
            if row is None:
                return False  # another process has just cleared it
            matched, hit = row
            if matched <= fault.after or (fault.times is not None and hit >= fault.times):
                return False
            if (
                fault.probability < 1
                and random.Random(f"{self._seed}/{fault.id}/{matched}").random()
                >= fault.probability
            ):
                return False
            self._database.execute("update faults set hit = hit + 1 where id = ?", (fault.id,))
            return True
        finally:
            self._database.execute("commit")

    def _insert(self, fault: Fault) -> None:
        body = json.dumps(asdict(fault))
        self._database.execute(
            "insert into faults (id, body, added) values (?, ?, ?)", (fault.id, body, time.time())
        )


def _fault(body: str) -> Fault:
    fields: dict[str, Any] = json.loads(body)
    return Fault(**fields)
