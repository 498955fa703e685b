"""Snapshots of shares, and deleted shares that can be had back. Used by `file_share` and the data
plane.

Both are folders beside the live shares' in the account's, under names that no share can have.
"""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

from infra.local_azure import clock
from infra.local_azure.arm.errors import ArmError, conflict
from infra.local_azure.azure import Azure
from infra.local_azure.files import leases, tree
from infra.local_azure.store import Record

SHARE = "microsoft.storage/storageaccounts/fileservices/shares"
SNAPSHOT, DELETED = f"{SHARE}/snapshots", f"{SHARE}/deleted"
_DAY = 86400.0
_FILETIME = 116444736000000000  # 1601 to 1970 in units of 100 ns


def snapshots(azure: Azure, share: Record) -> list[Record]:
    return azure.store.each(SNAPSHOT, share.id)


async def snapshot(azure: Azure, share: Record, metadata: dict[str, str] | None) -> Record:
    """A copy of the share as it is now; Azure names it by its second."""
    when = datetime.fromtimestamp(int(clock.now()), UTC)
    while azure.store.get(_snapshot_id(share, when)) is not None:
        when = datetime.fromtimestamp(when.timestamp() + 1, UTC)
    kept = {key: value for key, value in share.body.items() if key not in {"policies", "metadata"}}
    chosen = share.body.get("metadata", {}) if metadata is None else metadata
    body = {
        **kept,
        "metadata": chosen,
        "snapshot": f"{when:%Y-%m-%dT%H:%M:%S}.0000000Z",
        "modified": when.timestamp(),
    }
    record = Record(_snapshot_id(share, when), SNAPSHOT, body)
    source, target = (
        tree.share(azure.options, _account(share), share.name),
        snapshot_folder(azure, record),
    )
    await asyncio.to_thread(shutil.copytree, source, target, symlinks=True)
    azure.store.put(record)
    return record


def find_snapshot(azure: Azure, share: Record, stamp: str) -> Record:
    """The snapshot of that second, however its time is written."""
    wanted = stamp.split(".", maxsplit=1)[0].rstrip("Z")
    for record in snapshots(azure, share):
        if record.body["snapshot"].startswith(wanted):
            return record
    raise ArmError(404, "ShareNotFound", "The specified share does not exist.")


def drop_snapshot(azure: Azure, record: Record) -> None:
    azure.store.delete(record.key)
    tree.discard(snapshot_folder(azure, record))


def snapshot_folder(azure: Azure, record: Record) -> Path:
    share = record.id.split("/")[-3]
    return (
        tree.account(azure.options, _account(record)) / f".snapshot-{share.lower()}-{record.name}"
    )


def bury(azure: Azure, share: Record, days: int) -> None:
    """Take a share away; for `days` it can be had back."""
    for record in snapshots(azure, share):
        drop_snapshot(azure, record)
    azure.store.delete(share.key)
    folder = tree.share(azure.options, _account(share), share.name)
    if days:
        now = clock.now()
        version = f"{int(now * 1e7) + _FILETIME:016X}"
        body = {**share.body, "name": share.name, "version": version, "deleted": now, "days": days}
        grave = Record(f"{share.id}_{version}", DELETED, body)
        tree.keep(folder, _grave(azure, grave))
        azure.store.put(grave)
    else:
        tree.discard(folder)
    azure.composition.changed()


def buried(azure: Azure, account: Record) -> list[Record]:
    """The deleted shares of an account whose time is not over; the others go for good."""
    kept = []
    for record in azure.store.each(DELETED, account.id):
        if remaining_days(record) > 0:
            kept.append(record)
        else:
            azure.store.delete(record.key)
            tree.discard(_grave(azure, record))
    return kept


def remaining_days(record: Record) -> int:
    passed = int((clock.now() - record.body["deleted"]) / _DAY)
    return int(record.body["days"]) - passed


def revive(azure: Azure, account: Record, name: str, version: str) -> Record:
    """Have a deleted share back under its name, which must be free."""
    identifier = f"{account.id}/fileServices/default/shares/{name}"
    if azure.store.get(identifier) is not None:
        raise conflict("ShareAlreadyExists", "The specified share already exists.")
    grave = next(
        (
            record
            for record in buried(azure, account)
            if record.name.lower() == f"{name}_{version}".lower()
        ),
        None,
    )
    if grave is None:
        raise ArmError(404, "ShareNotFound", "The specified share does not exist.")
    body = {
        key: value
        for key, value in grave.body.items()
        if key not in {"name", "version", "deleted", "days"}
    }
    share = Record(identifier, SHARE, body)
    tree.keep(_grave(azure, grave), tree.share(azure.options, account.name, name))
    leases.forget(azure.store, share.key)
    azure.store.delete(grave.key)
    azure.composition.changed()
    return share


def _snapshot_id(share: Record, when: datetime) -> str:
    return f"{share.id}/snapshots/{when:%Y%m%dT%H%M%S}"


def _account(record: Record) -> str:
    return record.id.split("/")[8]


def _grave(azure: Azure, record: Record) -> Path:
    return tree.account(azure.options, _account(record)) / f".kept-{record.name.lower()}"
