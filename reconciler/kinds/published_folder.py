"""A folder on the share: code, a model, an adapter or the serving runtime, published under its
digest; or a folder that the user put there (`share://`), which is only observed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.digest import Tree
from reconciler.api.kinds import Kind
from reconciler.api.outputs import FolderOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import FolderSpec, ShareRef
from reconciler.api.upload_progress import size_text, uploaded_text
from reconciler.arm import files, publish
from reconciler.arm.concurrency import failed
from reconciler.arm.publish import MANIFEST, LocalFile, ShareStamp, Verification
from reconciler.engine.errors import ReconcileError, WaitingForHuman
from reconciler.engine.external import (
    Change,
    Desired,
    Facts,
    Identity,
    Mark,
    Observation,
    Progress,
    Transfer,
    Wrote,
)
from reconciler.kinds.connections import Connections

AT_ONCE = 1.0  # seconds that a write may take before it goes on in the background
PACE = 2.0  # seconds of an upload after which its pace says something
TELLING = 2**20  # bytes that must be sent before an upload says how fast the next one will be
FRESH = 2.0  # seconds for which services that share a folder share one look at it


class SharedFolder(NamedTuple):
    """A published folder. All services that use it share what is known about it."""

    share: ShareRef
    prefix: str
    digest: str


class PublishedFolder:
    """Small folders are published within the call; a large one uploads in the background, and the
    folder is busy.
    """

    name = Kind.FOLDER

    def __init__(
        self, connections: Connections, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.shares = connections.shares
        self.clock = clock
        self._uploads: dict[SharedFolder, asyncio.Task[publish.Published]] = {}
        self._progress: dict[SharedFolder, tuple[int, int]] = {}
        self._began: dict[SharedFolder, tuple[float, int]] = {}
        self._stamps: dict[SharedFolder, Mapping[str, ShareStamp]] = {}
        self._damaged: dict[SharedFolder, tuple[str, ...]] = {}
        self._looks: dict[SharedFolder, tuple[float, asyncio.Future[Verification]]] = {}
        self._rates: dict[SharedFolder, int] = {}  # bytes per second of the last upload

    def identify(self, desired: Desired[FolderSpec]) -> Identity:
        return self.shares.identify(desired.key, desired.spec.share, desired.spec.prefix)

    async def observe(self, desired: Desired[FolderSpec], facts: Facts) -> Observation:
        spec = desired.spec
        if spec.tree is None:
            return await self._foreign(spec)
        place = _place(spec)
        if (running := self._uploading(place)) is not None:
            return running
        seen = await self._look(place, spec.tree)
        changed = tuple(dict.fromkeys((*seen.changed, *_younger_than_manifest(seen.stamps))))
        if not seen.complete:
            return Observation(exists=False, message=f"{spec.prefix} is not published")
        # The upload must send these again, although the share lists them.
        self._damaged[place] = changed
        if not changed and not seen.missing:
            self._stamps[place] = seen.stamps
        last = facts.last(desired.key, FolderOutputs)
        rate = self._rates.get(place) or (last.bytes_per_second if last else None)
        changes = [Change(f"files[{path}]", None, "present", "upload") for path in seen.missing]
        changes += [
            Change(f"files[{path}]", "changed behind our back", "as published", "upload")
            for path in changed
        ]
        return Observation(
            exists=True,
            ready=not changes,
            changes=tuple(changes),
            outputs=FolderOutputs(spec.prefix, spec.digest, bytes_per_second=rate),
            marks=(
                Mark(
                    ConditionType.PUBLISHED,
                    Status.of(not changes),
                    Reason.CONTENT_DAMAGED if changes else Reason.PUBLISHED,
                    "",
                ),
            ),
        )

    async def transfer(self, desired: Desired[FolderSpec]) -> Transfer | None:
        """What publishing would send, against the published version that is closest to it. A share
        that cannot be read has none.
        """
        spec = desired.spec
        if spec.tree is None:
            return None
        wanted = {path: file.sha256 for path, file in spec.tree.files.items()}
        before: Mapping[str, str] = {}
        size = spec.tree.size
        # A plan is of use without this figure, so a share that does not answer costs only it.
        with suppress(ReconcileError):
            before = await publish.closest(self.shares.open(spec.share), spec.prefix, wanted)
            seen = await self._look(_place(spec), spec.tree)
            todo = {*seen.missing, *seen.changed}
            size = sum(spec.tree.files[path].size for path in todo)
        return Transfer(
            added=len(wanted.keys() - before.keys()),
            changed=sum(before.get(path, sha) != sha for path, sha in wanted.items()),
            removed=len(before.keys() - wanted.keys()),
            size=size,
        )

    async def create(self, desired: Desired[FolderSpec], facts: Facts) -> Wrote:
        return await self._upload(desired.spec, _tree(desired.spec))

    async def update(
        self, desired: Desired[FolderSpec], observed: Observation, facts: Facts
    ) -> Wrote:
        return await self._upload(desired.spec, _tree(desired.spec))

    async def exists(self, identity: Identity) -> bool:
        """Whether it was published: a user's own folder has no manifest, and is never ours."""
        share, prefix = self.shares.find(identity)
        return await files.exists(share, f"{prefix}/{MANIFEST}")

    async def delete(self, identity: Identity) -> Wrote | None:
        if not await self.exists(identity):
            return None
        share, prefix = self.shares.find(identity)
        await files.delete_tree(share, prefix)
        self.shares.rounds.forget_below(prefix)
        for place in [place for place in self._looks if place.prefix == prefix]:
            for known in (self._looks, self._stamps, self._damaged):
                known.pop(place, None)
        return Wrote(f"delete {prefix}")

    async def poll(self, identity: Identity, operation: str) -> Progress:
        return Progress(done=True)

    async def close(self) -> None:
        """Stop uploads. What has arrived stays, and the next daemon continues from there."""
        looks = (task for _, task in self._looks.values())
        tasks: list[asyncio.Future[Any]] = [*self._uploads.values(), *looks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _upload(self, spec: FolderSpec, tree: Tree) -> Wrote:
        """Publish, or wait for the publishing that another service has begun."""
        place = _place(spec)
        task = self._uploads.get(place)
        if task is None:
            task = self._uploads[place] = asyncio.create_task(self._publish(place, tree))
        # Gigabytes must not block a worker; the next pass finds the upload under way.
        await asyncio.wait([task], timeout=AT_ONCE)
        if not task.done():
            return Wrote(
                f"publish {spec.prefix}: {_files(len(tree.files))}, {size_text(tree.size)}"
            )
        self._uploads.pop(place, None)
        published = task.result()
        sent = size_text(published.sent)
        return Wrote(f"publish {spec.prefix}: {_files(published.uploaded)}, {sent}")

    async def _publish(self, place: SharedFolder, tree: Tree) -> publish.Published:
        again = self._damaged.pop(place, ())
        # the manifest must stay the youngest file: a younger file is a change from outside
        if again:
            again = (*again, MANIFEST)

        def progress(done: int, total: int) -> None:
            self._progress[place] = (done, total)

        share, began = self.shares.open(place.share), self.clock()
        published = await publish.publish(
            share,
            _local(tree),
            place.prefix,
            place.digest,
            dtype=tree.dtype,
            again=again,
            empty=self._found_empty(place),
            progress=progress,
        )
        if published.sent >= TELLING:
            self._rates[place] = max(1, int(published.sent / max(self.clock() - began, 0.001)))
        self._stamps[place] = published.stamps
        # Publishing ended with a listing of the folder or with Azure's answer for each file, which
        # is as good as a look.
        seen = Verification(MANIFEST in published.stamps, stamps=published.stamps)
        look = asyncio.get_running_loop().create_future()
        look.set_result(seen)
        self._looks[place] = (self.clock(), look)
        self.shares.rounds.looked(place)
        return published

    def _uploading(self, place: SharedFolder) -> Observation | None:
        """What to say while an upload runs; its error, if it failed, is raised here."""
        task = self._uploads.get(place)
        if task is None:
            return None
        if task.done():
            self._uploads.pop(place)
            self._began.pop(place, None)
            task.result()
            return None
        done, total = self._progress.get(place, (0, 0))
        message = f"{uploaded_text(done, total)}{self._pace(place, done, total)}"
        mark = Mark(ConditionType.PUBLISHED, Status.FALSE, Reason.PUBLISHING, message)
        return Observation(
            exists=False,
            busy=True,
            reason=Reason.PUBLISHING,
            message=message,
            marks=(mark,),
            poll_after=0.5,
        )

    def _pace(self, place: SharedFolder, done: int, total: int) -> str:
        """How fast it goes and how long it still takes, once that can be told."""
        began, before = self._began.setdefault(place, (self.clock(), done))
        took = self.clock() - began
        if took < PACE or done <= before:
            return ""
        rate = (done - before) / took
        return f", {size_text(int(rate))}/s, about {(total - done) / rate:.0f} s left"

    async def _look(self, place: SharedFolder, tree: Tree) -> Verification:
        """The folder compared with `tree`. A base model or the runtime is listed once for all its
        services. A folder that was as published at its last look is listed only when `rounds` says
        that it is due.
        """
        now = self.clock()
        at, task = self._looks.get(place, (now, None))
        # A failed look is not shared: its error may be over by now.
        if (
            task is None
            or failed(task)
            or (
                now - at > FRESH and (not self._rests(place, task) or self.shares.rounds.due(place))
            )
        ):
            self._forget()
            self.shares.rounds.looked(place)
            known = self._stamps.get(place)
            # A new share holds nothing, and what this process has published there since has been
            # looked at.
            new = task is None and self.shares.is_new(place.share)
            task = asyncio.create_task(self._verify(place, tree, known, new=new))
            task.add_done_callback(failed)  # fetches the exception, which nobody may await
            self._looks[place] = (now, task)
        # Shielded, because the look is shared: one service's cancelled pass must not end it for
        # others.
        return await asyncio.shield(task)

    async def _verify(
        self, place: SharedFolder, tree: Tree, known: Mapping[str, ShareStamp] | None, *, new: bool
    ) -> Verification:
        if new:
            return Verification(complete=False, missing=tuple(sorted(tree.files)))
        share = self.shares.open(place.share)
        return await publish.verify(share, place.prefix, _local(tree), known)

    def _found_empty(self, place: SharedFolder) -> bool:
        """Whether a look has just found nothing there."""
        at, task = self._looks.get(place, (0.0, None))
        if task is None or not task.done() or failed(task) or self.clock() - at > FRESH:
            return False
        seen = task.result()
        return not (seen.complete or seen.stamps)

    def _rests(self, place: SharedFolder, task: asyncio.Future[Verification]) -> bool:
        """Whether the last look found the folder as published."""
        if not task.done() or place not in self._stamps:
            return False
        seen = task.result()
        return seen.complete and not (seen.missing or seen.changed)

    def _forget(self) -> None:
        """Drop what is known of folders that no document names any more."""
        for place in [place for place in self._looks if not self.shares.rounds.knows(place)]:
            for known in (self._looks, self._stamps, self._damaged, self._progress, self._rates):
                known.pop(place, None)

    async def _foreign(self, spec: FolderSpec) -> Observation:
        found = await files.list_tree(self.shares.open(spec.share), spec.prefix)
        outputs = FolderOutputs(spec.prefix, files=len(found))
        return Observation(exists=bool(found), ready=bool(found), outputs=outputs)


def _place(spec: FolderSpec) -> SharedFolder:
    return SharedFolder(spec.share, spec.prefix, spec.digest)


def _tree(spec: FolderSpec) -> Tree:
    """What is to be published; a user's own folder is not ours to write."""
    if spec.tree is None:
        raise WaitingForHuman(
            Reason.MISSING,
            f"share://{spec.prefix} does not exist on the share {spec.share.share}; put it there",
        )
    return spec.tree


def _local(tree: Tree) -> dict[str, LocalFile]:
    return {path: LocalFile(file.path, file.size, file.sha256) for path, file in tree.files.items()}


def _younger_than_manifest(stamps: Mapping[str, ShareStamp]) -> list[str]:
    """Files younger than the manifest, which is written last. They show that somebody changed the
    folder, even to a daemon that has lost its state.
    """
    manifest = stamps.get(MANIFEST)
    if manifest is None or manifest.modified is None:
        return []
    return [
        path
        for path, stamp in stamps.items()
        if stamp.modified is not None and stamp.modified > manifest.modified
    ]


def _files(count: int) -> str:
    return f"{count} file{'s' * (count != 1)}"
