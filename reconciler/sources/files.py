"""Says which of the watched paths have changed, but not how: a deletion is a change too.

An unreadable path is a change like any other: the next load finds the problem and keeps the last
good version.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from reconciler.api.stat_cache import StatCache
from reconciler.sources.directories import Directories, Plan
from reconciler.sources.watched import (
    Contents,
    Events,
    ManifestFile,
    ManifestPath,
    Root,
    SourceFolder,
)
from serving.preflight import READ

_LONGEST_UNREST = 10.0  # seconds after which a path is read even though it never rests


class FileSource:
    """Watches manifests and the source folders that documents name. One `watch` at a time.

    `quiet` is how many seconds a path must rest after its last event, `reread` how often everything
    is looked at without one (network mounts have none). `cache` keeps large folders from being read
    again. `doubt` is called when everything is read without regard to stamps.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        cache: StatCache | None = None,
        *,
        quiet: float = 0.2,
        reread: float = 30.0,
        doubt: Callable[[], None] = lambda: None,
    ) -> None:
        self._contents: Contents = {}
        self._manifests: dict[Path, Root] = {
            path: ManifestPath(path.absolute(), self._contents) for path in paths
        }
        self._folders: dict[Path, Root] = {}
        self._cache = cache
        self._quiet, self._reread, self._doubt = quiet, reread, doubt
        self._prints: dict[Path, str] = {}
        # Of each path, the first and the last event since it was last looked at.
        self._touched: dict[Path, tuple[float, float]] = {}
        self._wake = asyncio.Event()
        self._directories = Directories(self._plan, self._on_events, self._touch_all)

    def set_watched(
        self,
        folders: Iterable[Path],
        known: Mapping[Path, str] | None = None,
        files: Iterable[Path] = (),
        adapters: Collection[Path] = (),
    ) -> None:
        """Replace the source folders, and the single `files` to watch besides. `known` are digests
        that the caller has acted on: a folder that differs is reported as changed at once. So is a
        new folder without a known digest. In folders that are `adapters`, only the files that a
        replica reads count.
        """
        wanted: dict[Path, Root] = {
            folder: SourceFolder(folder, self._cache, READ if given in adapters else ())
            for given, folder in ((each, each.absolute()) for each in folders)
        }
        wanted |= {
            file: ManifestFile(file, self._contents) for file in (each.absolute() for each in files)
        }
        for gone in self._folders.keys() - wanted.keys():
            del self._folders[gone]
            self._prints.pop(gone, None)
            self._touched.pop(gone, None)
        for new in [path for path in wanted if self._folders.get(path) != wanted[path]]:
            self._folders[new] = wanted[new]
            if known and new in known:
                self._prints[new] = known[new]
            self._touch(new)
        self._directories.replan()

    async def watch(self, stop: asyncio.Event) -> AsyncGenerator[frozenset[Path], None]:
        """Yield every manifest path at once, then the paths that have changed, until `stop`. Paths
        are as they were given. Raises what the watch on the directories raises.
        """
        directories = asyncio.create_task(self._directories.run())
        directories.add_done_callback(lambda _: self._wake.set())
        tasks = [directories, asyncio.create_task(self._wake_at(stop))]
        try:
            for path, root in self._manifests.items():
                self._prints[path] = str(await asyncio.to_thread(root.fingerprint))
            yield frozenset(self._manifests)
            last_reread = _now()
            while not stop.is_set():
                await self._rest(last_reread + self._reread)
                if directories.done():
                    directories.result()
                if _now() >= last_reread + self._reread:
                    last_reread = _now()
                    self._contents.clear()  # a network mount may show old stamps until it is read
                    self._doubt()
                    self._touch_all(waited=True)
                    self._directories.replan()
                if not stop.is_set() and (changed := await self._changed()):
                    yield frozenset(changed)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _rest(self, until: float) -> None:
        """Sleep until something is due, woken by every event."""
        while not self._wake.is_set() and _now() < until:
            due = min((self._due(path) for path in self._touched), default=until)
            if due <= _now():
                return
            try:
                await asyncio.wait_for(self._wake.wait(), min(due, until) - _now())
            except TimeoutError:
                return
        self._wake.clear()

    def _due(self, path: Path) -> float:
        first, last = self._touched[path]
        return min(last + self._quiet, first + _LONGEST_UNREST)

    async def _changed(self) -> set[Path]:
        """Read the paths that are due; one that is still being written is read later."""
        changed = set()
        for path in [path for path in self._touched if self._due(path) <= _now()]:
            root = self._roots().get(path)
            self._touched.pop(path, None)
            if root is None:
                continue
            found = await asyncio.to_thread(root.fingerprint)
            if found is None:
                self._touch(path)
            elif path in self._roots() and self._prints.get(path) != found:
                self._prints[path] = found
                changed.add(path)
        return changed

    def _on_events(self, touched: Collection[Path]) -> None:
        events = Events(frozenset(touched))
        for path, root in self._roots().items():
            if root.concerned(events):
                self._touch(path)

    def _touch_all(self, *, waited: bool = False) -> None:
        for path in self._roots():
            self._touch(path, _now() - self._quiet if waited else None)

    def _touch(self, path: Path, at: float | None = None) -> None:
        first, last = self._touched.get(path, (at or _now(), 0.0))
        self._touched[path] = (first, max(last, at or _now()))
        self._wake.set()

    def _roots(self) -> dict[Path, Root]:
        return self._manifests | self._folders

    def _plan(self) -> Plan:
        """Directories to watch now; a missing one is replaced by its nearest existing parent."""
        roots = self._roots().values()
        shallow = {_nearest(path) for path in {path for root in roots for path in _safe(root)}}
        return frozenset(shallow), frozenset(
            path
            for root in roots
            for path in root.deep()
            if os.path.isdir(path)  # noqa: PTH112 - at every event, for every folder
        )

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()


def _nearest(path: Path) -> Path:
    return next((parent for parent in (path, *path.parents) if parent.is_dir()), path)


def _safe(root: Root) -> list[Path]:
    """The directories to watch for `root`; one that cannot be listed is watched from its parent."""
    found: list[Path] = []
    try:
        for path in root.shallow():
            found.append(path)  # noqa: PERF402 - what came before the error counts
    except OSError:
        found.append(root.path.parent)
    return found


def _now() -> float:
    return asyncio.get_running_loop().time()
