"""What a file source watches: manifest files, manifest folders, and the source folders that
documents name.

Each root says which directories must be watched for it, which events concern it, and what it holds
now.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reconciler.api.digest import TreeChanging, TreeError, digest_tree
from reconciler.api.manifest_files import is_manifest_file
from reconciler.api.path_stamps import PathStamps
from reconciler.api.regular_files import open_regular
from reconciler.api.stat_cache import StatCache

Contents = dict[Path, tuple[Hashable, str]]  # of files, with their stamps


@dataclass(frozen=True)
class Events:
    """Paths that had events; of what kind says nothing, because savers differ too much."""

    paths: frozenset[Path]

    @cached_property
    def around(self) -> frozenset[Path]:
        """The paths and all that is above them: found once for a thousand folders."""
        return frozenset(above for path in self.paths for above in (path, *path.parents))


@dataclass(frozen=True)
class Root(ABC):
    """One watched path, absolute. Links in it stay: a mounted ConfigMap swaps them."""

    path: Path

    @abstractmethod
    def shallow(self) -> Iterator[Path]:
        """Directories whose own entries matter."""

    def deep(self) -> Iterator[Path]:
        """Directories watched with all that is below."""
        return iter(())

    @abstractmethod
    def fingerprint(self) -> str | None:
        """A text that changes with the root's content; blocking. None while somebody is still
        writing.
        """

    def concerned(self, events: Events) -> bool:
        """Whether the events may have changed the root."""
        above = {self.path, *self.path.parents}
        try:
            inside = {*self.telling()}
        except OSError:
            return True
        return any(one in above or one.parent in inside for one in events.paths)

    def telling(self) -> Iterator[Path]:
        """Directories in which an event at any entry may be a change of the root: only those that
        may change where a link leads. A neighbour of a plain file or folder does not count, because
        one that is written all the time (a log) would keep a save waiting.
        """
        if self.path.is_symlink():
            yield from (self.path.parent, self.path.resolve().parent)


@dataclass(frozen=True)
class ManifestFile(Root):
    """A single file (YAML or an evaluation), which may be a link. `contents` remembers what was
    read of it.
    """

    contents: Contents = field(default_factory=dict, compare=False)

    def shallow(self) -> Iterator[Path]:
        yield self.path.parent
        yield self.path.parent.parent
        yield self.path.resolve().parent

    def fingerprint(self) -> str:
        return _content(self.path, PathStamps(), self.contents)


@dataclass(frozen=True)
class ManifestFolder(Root):
    """A folder of YAML files; a file that comes or goes is a change of the folder. `contents`
    remembers what was read of them.
    """

    contents: Contents = field(default_factory=dict, compare=False)

    def shallow(self) -> Iterator[Path]:
        yield self.path.parent
        yield self.path
        yield self.path.resolve()
        yield from self.telling()

    def telling(self) -> Iterator[Path]:
        yield from super().telling()
        # Only links are resolved: a thousand files would take 30 ms at every event.
        with os.scandir(self.path) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_symlink()]
        if links := [link for link in found if is_manifest_file(link)]:
            yield self.path
            yield from {link.resolve().parent for link in links}

    def concerned(self, events: Events) -> bool:
        own = (self.path, self.path.resolve())
        return any(one.parent in own and is_manifest_file(one) for one in events.paths) or (
            super().concerned(Events(events.paths - {self.path.parent}))
        )

    def fingerprint(self) -> str:
        try:
            files = self._files()
        except OSError as error:
            return f"unreadable {error.errno}"
        stamps = PathStamps()
        return " ".join(f"{file.name}={_content(file, stamps, self.contents)}" for file in files)

    def _files(self) -> list[Path]:
        # By name: to compare a thousand paths takes longer than to look at the files.
        names = sorted(os.listdir(self.path))  # noqa: PTH208 - paths are made of the sorted names
        return [file for name in names if is_manifest_file(file := self.path / name)]


@dataclass(frozen=True)
class SourceFolder(Root):
    """A folder of code, a model or an adapter; large, so that unchanged files are not
    read again. With `only`, no other file counts, however large a trainer leaves it there.
    """

    cache: StatCache | None = field(default=None, compare=False)
    only: tuple[str, ...] = ()

    def shallow(self) -> Iterator[Path]:
        yield self.path.parent

    def deep(self) -> Iterator[Path]:
        yield self.path

    def concerned(self, events: Events) -> bool:
        return self.path in events.around or not events.paths.isdisjoint(self._above)

    @cached_property
    def _above(self) -> frozenset[Path]:
        return frozenset(self.path.parents)

    def fingerprint(self) -> str | None:
        if self.only and not any(os.path.lexists(self.path / name) for name in self.only):
            return "without any of its files"
        try:
            return digest_tree(self.path, self.cache, only=self.only).digest
        except TreeChanging:
            return None
        except TreeError as error:
            return f"unusable {error}"


@dataclass(frozen=True)
class ManifestPath(Root):
    """What the user named: a file or a folder, whichever it is at the moment."""

    contents: Contents = field(default_factory=dict, compare=False)

    def _now(self) -> ManifestFile | ManifestFolder:
        kind = ManifestFolder if self.path.is_dir() else ManifestFile
        return kind(self.path, self.contents)

    def shallow(self) -> Iterator[Path]:
        return self._now().shallow()

    def concerned(self, events: Events) -> bool:
        return self.path in events.paths or self._now().concerned(events)

    def fingerprint(self) -> str:
        return self._now().fingerprint()


def _content(file: Path, stamps: PathStamps, known: Contents) -> str:
    """A digest of the file, which is not read again while it has the same stamp."""
    stamp, before = stamps.of(file), known.get(file)
    if before is not None and stamp is not None and before[0] == stamp:
        return before[1]
    try:
        with open_regular(file) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable {error.errno}"
    known[file] = (stamp, digest)
    return digest
