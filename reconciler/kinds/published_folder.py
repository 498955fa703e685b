"""A folder on the share: code, a model, an adapter or the serving runtime, published under its digest; or one that the
user put there (`share://`), which is only looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from reconciler.api.digest import Tree
from reconciler.api.reasons import Reason
from reconciler.api.resources import FolderSpec
from reconciler.arm import files, publish
from reconciler.arm.publish import MANIFEST, LocalFile, Stamp
from reconciler.engine.errors import WaitingForHuman
from reconciler.engine.external import Change, Desired, Facts, Mark, ObjectKey, Observation, Progress, Wrote
from reconciler.kinds.shares import Shares

AT_ONCE = 1.0  # seconds that a write may take before it goes on in the background


class PublishedFolder:
    """Small folders are published within the call; a large one uploads in the background, and the folder is busy."""

    name = "PublishedFolder"

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self._uploads: dict[ObjectKey, asyncio.Task[publish.Published]] = {}
        self._progress: dict[ObjectKey, tuple[int, int]] = {}
        self._stamps: dict[ObjectKey, tuple[str, Mapping[str, Stamp]]] = {}
        self._damaged: dict[ObjectKey, tuple[str, ...]] = {}

    async def observe(self, desired: Desired, facts: Facts) -> Observation:
        spec: FolderSpec = desired.spec
        if (running := self._uploading(desired.key)) is not None:
            return running
        if spec.tree is None:
            return await self._foreign(spec)
        share = self.shares.open(spec.share)
        seen = await publish.verify(share, spec.prefix, _local(spec.tree), self._known(desired.key, spec))
        changed = tuple(dict.fromkeys((*seen.changed, *_younger_than_manifest(seen.stamps))))
        if not seen.complete:
            return Observation(exists=False, message=f"{spec.prefix} is not published")
        self._damaged[desired.key] = changed
        if not changed and not seen.missing:
            self._stamps[desired.key] = (spec.digest, seen.stamps)
        changes = [Change(f"files[{path}]", None, "present", "upload") for path in seen.missing]
        changes += [Change(f"files[{path}]", "changed behind our back", "as published", "upload") for path in changed]
        return Observation(
            exists=True,
            ready=not changes,
            changes=tuple(changes),
            outputs={"path": spec.prefix, "digest": spec.digest},
            marks=(Mark("Published", str(not changes), Reason.CONTENT_DAMAGED if changes else Reason.PUBLISHED, ""),),
        )

    async def create(self, desired: Desired, facts: Facts) -> Wrote:
        spec: FolderSpec = desired.spec
        if spec.tree is None:
            raise WaitingForHuman(
                Reason.MISSING, f"share://{spec.prefix} does not exist on the share {spec.share.share}; put it there"
            )
        return await self._upload(desired, ())

    async def update(self, desired: Desired, observed: Observation, facts: Facts) -> Wrote:
        return await self._upload(desired, self._damaged.get(desired.key, ()))

    async def delete(self, desired: Desired) -> Wrote | None:
        spec: FolderSpec = desired.spec
        if spec.tree is None:
            return None
        await files.delete_tree(self.shares.open(spec.share), spec.prefix)
        return Wrote(f"delete {spec.prefix}")

    async def poll(self, desired: Desired, operation: str) -> Progress:
        return Progress(done=True)

    async def close(self) -> None:
        """Stop uploads; what has arrived is kept, and the next daemon goes on from there."""
        for task in self._uploads.values():
            task.cancel()
        await asyncio.gather(*self._uploads.values(), return_exceptions=True)

    async def _upload(self, desired: Desired, again: tuple[str, ...]) -> Wrote:
        spec: FolderSpec = desired.spec
        assert spec.tree is not None
        key, tree = desired.key, _local(spec.tree)
        if again:  # the manifest must stay the youngest file, for that is how a change behind our back is seen
            again = (*again, MANIFEST)

        def progress(done: int, total: int) -> None:
            self._progress[key] = (done, total)

        work = publish.publish(self.shares.open(spec.share), tree, spec.prefix, spec.digest, again=again, progress=progress)
        task = self._uploads[key] = asyncio.create_task(work)
        await asyncio.wait([task], timeout=AT_ONCE)
        if task.done():
            published = self._uploads.pop(key).result()
            self._stamps[key] = (spec.digest, published.stamps)
            return Wrote(f"publish {spec.prefix}: {published.uploaded} files, {_size(published.sent)}")
        return Wrote(f"publish {spec.prefix}: {len(tree)} files, {_size(sum(f.size for f in tree.values()))}")

    def _uploading(self, key: ObjectKey) -> Observation | None:
        """What to say while an upload runs; its error, if it failed, is raised here."""
        task = self._uploads.get(key)
        if task is None:
            return None
        if task.done():
            self._uploads.pop(key)
            task.result()
            return None
        done, total = self._progress.get(key, (0, 0))
        message = f"{_size(done)} of {_size(total)} uploaded"
        mark = Mark("Published", "False", Reason.PUBLISHING, message)
        return Observation(exists=False, busy=True, reason=Reason.PUBLISHING, message=message, marks=(mark,), poll_after=0.5)

    def _known(self, key: ObjectKey, spec: FolderSpec) -> Mapping[str, Stamp] | None:
        digest, stamps = self._stamps.get(key, ("", {}))
        return stamps if digest == spec.digest else None

    async def _foreign(self, spec: FolderSpec) -> Observation:
        found = await files.list_tree(self.shares.open(spec.share), spec.prefix)
        outputs: dict[str, Any] = {"path": spec.prefix, "files": len(found)}
        return Observation(exists=bool(found), ready=bool(found), outputs=outputs)


def _local(tree: Tree) -> dict[str, LocalFile]:
    return {path: LocalFile(file.path, file.size, file.sha256) for path, file in tree.files.items()}


def _younger_than_manifest(stamps: Mapping[str, Stamp]) -> list[str]:
    """Files written after the manifest, which is written last: seen even by a daemon that remembers nothing."""
    manifest = stamps.get(MANIFEST)
    if manifest is None or manifest.modified is None:
        return []
    return [path for path, stamp in stamps.items() if stamp.modified is not None and stamp.modified > manifest.modified]


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
