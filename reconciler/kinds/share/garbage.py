"""Deletes unused files from a share: published folders, catalogues of former engines, reports of
former replicas.

A file is in use if one of these names it: an active revision or a job in the subscription, whoever
made it; a revision that a rollback may go back to; a catalogue on the share; a document. Only what
Moorage published is deleted, and only after a while, because a reader may have an old listing.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any

from reconciler.api import versions
from reconciler.api.resources import CatalogueSpec, FolderSpec, JobSpec, ShareRef
from reconciler.arm import apps, files, ids
from reconciler.arm.clients import Arm
from reconciler.arm.publish import MANIFEST
from reconciler.arm.share import Share
from reconciler.engine.external import Desired
from reconciler.engine.store import Store
from reconciler.kinds.share.shares import Shares
from serving.catalogue import LONGEST

_LEVELS = {
    "runtime": 1,
    "code": 2,
    "models": 2,
    "adapters": 2,
}  # of names, the last of them a digest
HISTORY = "/history"  # of a service's adapters, beside the folders of its engines
_DIGEST = re.compile(r"[0-9a-f]{12}(-bfloat16|-float16)?")


class Garbage:
    """Records since when each path has been unused. If the record is lost, the waiting time starts
    again.
    """

    def __init__(self, arm: Arm, shares: Shares, store: Store, after: float) -> None:
        self.arm = arm
        self.shares = shares
        self.store = store
        self.after = after  # seconds

    async def collect(self, ref: ShareRef, desired: Iterable[Desired]) -> AsyncIterator[str]:
        """Delete each path that has been unused for long enough, and yield the path.

        Raises:
            ReconcileError: something could not be read, and nothing is deleted; or writing is no
                longer permitted.
        """
        share, now = self.shares.open(ref), self.arm.time.now()
        below = [path async for path in _below(share, "services", 2)]
        engines = [path for path in below if not path.endswith(HISTORY)]
        kept = [f"{path}/catalogue" for path in engines]
        kept += [path for path in below if path.endswith(HISTORY)]
        # Paths are searched in one text, because a field that is unknown here may name one too.
        named = "\n".join([*_wanted(desired), *await self._running(), *await _texts(share, kept)])
        unnamed = [path for path in engines if path not in named]
        found = unnamed + [
            path
            async for path in _digests(share)
            if path not in named and await _published(share, path)
        ]
        since = self._remember(ref, found, now)
        for path in found:
            if (now - since[path]).total_seconds() >= self.after:
                await _remove(share, path)
                yield path
        for engine in set(engines).difference(unnamed):
            await self._forget_replicas(share, engine, now)

    def _remember(self, ref: ShareRef, found: Iterable[str], now: datetime) -> dict[str, datetime]:
        name = f"garbage {ref.account}/{ref.share}"
        known = json.loads(self.store.get(name) or "{}")
        since = {
            path: datetime.fromisoformat(known[path]) if path in known else now for path in found
        }
        self.store.put(
            name,
            json.dumps({path: at.isoformat() for path, at in since.items()}) if since else None,
        )
        return since

    async def _running(self) -> list[str]:
        """Apps, their active revisions and jobs, as text: a path in any field is in use."""
        scope = f"{ids.subscription(self.arm.subscription_id)}/providers/Microsoft.App"
        users = [
            *await self.arm.list_json(f"{scope}/containerApps", versions.APP),
            *await self.arm.list_json(f"{scope}/jobs", versions.APP),
        ]
        return [json.dumps(each) for each in users] + [
            json.dumps(template)
            for each in users
            if _mounts(each)
            for template in await apps.templates_in_use(self.arm, each, apps.RETAINED)
        ]

    async def _forget_replicas(self, share: Share, engine: str, now: datetime) -> None:
        """Delete old reports. Every replica leaves a report; a running replica writes its report
        again every few seconds.
        """
        entries, _ = await files.list_directory(share, f"{engine}/replicas")
        for entry in entries:
            if entry.modified is not None and (now - entry.modified).total_seconds() >= self.after:
                await files.delete(share, f"{engine}/replicas/{entry.path}")


def _wanted(desired: Iterable[Desired]) -> Iterable[str]:
    for each in desired:
        match each.spec:
            case FolderSpec(prefix=path) | JobSpec(folder=path):
                yield path
            case CatalogueSpec() as catalogue:
                yield catalogue.folder


async def _digests(share: Share) -> AsyncIterator[str]:
    """Folders that end in a digest."""
    for top, levels in _LEVELS.items():
        async for path in _below(share, top, levels):
            if _DIGEST.fullmatch(path.rpartition("/")[2]):
                yield path


async def _published(share: Share, path: str) -> bool:
    """Whether it has the manifest that Moorage writes last. A user's own folder has none."""
    return await files.exists(share, f"{path}/{MANIFEST}")


async def _texts(share: Share, folders: Iterable[str]) -> list[str]:
    """The catalogues and sets of adapters that are kept: replicas with an old listing and rollbacks
    need the versions that they name.
    """
    texts = []
    for folder in folders:
        entries, _ = await files.list_directory(share, folder)
        for entry in entries:
            data = await files.read(share, f"{folder}/{entry.path}", LONGEST)
            texts.append((data or b"").decode(errors="replace"))
    return texts


async def _below(share: Share, top: str, levels: int) -> AsyncIterator[str]:
    """The directories `levels` below `top`."""
    if not levels:
        yield top
        return
    _, names = await files.list_directory(share, top)
    for name in names:
        async for path in _below(share, f"{top}/{name}", levels - 1):
            yield path


async def _remove(share: Share, path: str) -> None:
    """Delete the manifest first: a half-deleted folder must not look complete."""
    await files.delete(share, f"{path}/{MANIFEST}")
    await files.delete_tree(share, path)


def _mounts(app: dict[str, Any]) -> bool:
    volumes = (app["properties"].get("template") or {}).get("volumes") or ()
    return any(volume.get("storageType") == "AzureFile" for volume in volumes)
