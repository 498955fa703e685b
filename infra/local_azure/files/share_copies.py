"""Snapshots of shares, and deleted shares that can be restored. Used by `share_records` and the
provider of shares.

Both are folders beside the live shares' in the account's, under names that no share can have.
"""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

from infra.local_azure import clock
from infra.local_azure.arm.errors import ArmError, conflict
from infra.local_azure.changes import Changes
from infra.local_azure.store import Record, Store

from . import leases, tree
from .tree import Tree

SHARE = "microsoft.storage/storageaccounts/fileservices/shares"
SNAPSHOT, DELETED = f"{SHARE}/snapshots", f"{SHARE}/deleted"
_DAY = 86400.0
_FILETIME = 116444736000000000  # 1601 to 1970 in units of 100 ns


class ShareCopies:
    """Both kinds of copies are records in the store with a folder in the tree."""

    def __init__(self, store: Store, tree: Tree, changes: Changes) -> None:
        self._store = store
        self._tree = tree
        self._changes = changes

    def snapshots(self, share: Record) -> list[Record]:
        return self._store.each(SNAPSHOT, share.id)

    async def snapshot(self, share: Record, metadata: dict[str, str] | None) -> Record:
        """A copy of the share as it is now; Azure names it by its second."""
        when = datetime.fromtimestamp(int(clock.now()), UTC)
        while self._store.get(_snapshot_id(share, when)) is not None:
            when = datetime.fromtimestamp(when.timestamp() + 1, UTC)
        kept = {
            key: value for key, value in share.body.items() if key not in {"policies", "metadata"}
        }
        chosen = share.body.get("metadata", {}) if metadata is None else metadata
        body = {
            **kept,
            "metadata": chosen,
            "snapshot": f"{when:%Y-%m-%dT%H:%M:%S}.0000000Z",
            "modified": when.timestamp(),
        }
        record = Record(_snapshot_id(share, when), SNAPSHOT, body)
        source, target = (
            self._tree.share(_account(share), share.name),
            self.snapshot_folder(record),
        )
        await asyncio.to_thread(shutil.copytree, source, target, symlinks=True)
        self._store.put(record)
        return record

    def find_snapshot(self, share: Record, stamp: str) -> Record:
        """The snapshot of that second, however its time is written."""
        wanted = stamp.split(".", maxsplit=1)[0].rstrip("Z")
        for record in self.snapshots(share):
            if record.body["snapshot"].startswith(wanted):
                return record
        raise ArmError(404, "ShareNotFound", "The specified share does not exist.")

    def drop_snapshot(self, record: Record) -> None:
        self._store.delete(record.key)
        tree.discard(self.snapshot_folder(record))

    def snapshot_folder(self, record: Record) -> Path:
        share = record.id.split("/")[-3]
        return self._tree.account(_account(record)) / f".snapshot-{share.lower()}-{record.name}"

    def delete(self, share: Record, days: int) -> None:
        """Delete a share; for `days` it can be restored."""
        for record in self.snapshots(share):
            self.drop_snapshot(record)
        self._store.delete(share.key)
        folder = self._tree.share(_account(share), share.name)
        if days:
            now = clock.now()
            version = f"{int(now * 1e7) + _FILETIME:016X}"
            body = {
                **share.body,
                "name": share.name,
                "version": version,
                "deleted": now,
                "days": days,
            }
            kept = Record(f"{share.id}_{version}", DELETED, body)
            tree.keep(folder, self._deleted_folder(kept))
            self._store.put(kept)
        else:
            tree.discard(folder)
        self._changes.notify()

    def deleted(self, account: Record) -> list[Record]:
        """The deleted shares of an account that can still be restored; the others are removed."""
        kept = []
        for record in self._store.each(DELETED, account.id):
            if remaining_days(record) > 0:
                kept.append(record)
            else:
                self._store.delete(record.key)
                tree.discard(self._deleted_folder(record))
        return kept

    def restore(self, account: Record, name: str, version: str) -> Record:
        """Restore a deleted share under its name, which must be free."""
        identifier = f"{account.id}/fileServices/default/shares/{name}"
        if self._store.get(identifier) is not None:
            raise conflict("ShareAlreadyExists", "The specified share already exists.")
        kept = next(
            (
                record
                for record in self.deleted(account)
                if record.name.lower() == f"{name}_{version}".lower()
            ),
            None,
        )
        if kept is None:
            raise ArmError(404, "ShareNotFound", "The specified share does not exist.")
        body = {
            key: value
            for key, value in kept.body.items()
            if key not in {"name", "version", "deleted", "days"}
        }
        share = Record(identifier, SHARE, body)
        tree.keep(self._deleted_folder(kept), self._tree.share(account.name, name))
        leases.forget(self._store, share.key)
        self._store.delete(kept.key)
        self._changes.notify()
        return share

    def _deleted_folder(self, record: Record) -> Path:
        return self._tree.account(_account(record)) / f".kept-{record.name.lower()}"


def remaining_days(record: Record) -> int:
    passed = int((clock.now() - record.body["deleted"]) / _DAY)
    return int(record.body["days"]) - passed


def _snapshot_id(share: Record, when: datetime) -> str:
    return f"{share.id}/snapshots/{when:%Y%m%dT%H%M%S}"


def _account(record: Record) -> str:
    return record.id.split("/")[8]
