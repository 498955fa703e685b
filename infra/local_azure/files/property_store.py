"""The properties of files that a directory tree cannot hold: metadata, content headers, attributes.
Kept in SQLite beside the trees.

A row belongs to an inode, so a file made or replaced on disk has none.
"""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

Extras = dict[str, Any]


class PropertyStore:
    """Keys are `account/share/path`; `extras` has "metadata", "headers", "attributes", "created",
    "permission".
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = off")
        self._database.execute(
            "create table if not exists extras (key text primary key, inode integer, body text)"
        )
        for beside in path.parent.glob(path.name + "-*"):
            beside.chmod(0o600)

    def close(self) -> None:
        self._database.close()

    def get(self, key: str, inode: int) -> Extras:
        row = self._database.execute(
            "select body from extras where key = ? and inode = ?", (key, inode)
        ).fetchone()
        return json.loads(row[0]) if row else {}

    def put(self, key: str, inode: int, extras: Extras) -> None:
        """Replace a file's row; empty properties remove it."""
        if extras:
            row = (key, inode, json.dumps(extras))
            self._database.execute("insert or replace into extras values (?, ?, ?)", row)
        else:
            self._database.execute("delete from extras where key = ?", (key,))

    def below(self, key: str) -> dict[str, Extras]:
        """The properties of a directory's own entries, by name."""
        query = "select substr(key, ?), body from extras where key > ? and key < ?"
        rows = self._database.execute(query, (len(key) + 2, key + "/", key + "0"))
        return {name: json.loads(body) for name, body in rows if "/" not in name}

    def move(self, old: str, new: str) -> None:
        """Move the rows of a renamed file or directory, and the rows below it."""
        self.drop(new)
        self._database.execute("update extras set key = ? where key = ?", (new, old))
        query = "update extras set key = ? || substr(key, ?) where key > ? and key < ?"
        self._database.execute(query, (new, len(old) + 1, old + "/", old + "0"))

    def drop(self, key: str) -> None:
        self._database.execute(
            "delete from extras where key = ? or (key > ? and key < ?)", (key, key + "/", key + "0")
        )
