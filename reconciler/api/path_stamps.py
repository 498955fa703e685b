"""What tells a changed file or folder from an unchanged one without reading it. `manifest` and the
sources keep what they found out about a document for as long as the paths that it names have the
same stamps: a save of one document must not look into the folders of a thousand others.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path

from reconciler.api.digest import is_excluded

# A file system that stamps whole seconds cannot tell two writes within one of them apart.
YOUNG_NS = 2_000_000_000
_Stamp = tuple[str, int, int, int, int]


class PathStamps:
    """Of one reading of the documents: each path is looked at once, and counts as it was then."""

    def __init__(self) -> None:
        self._now = time.time_ns()
        # By text: paths are slow to compare, and with a thousand services there are many.
        self._stamps: dict[str, Hashable | None] = {}
        self._resolved: dict[str, Path] = {}
        self._folders: dict[str, str] = {}  # resolved, of those that hold what was resolved

    def of(self, path: Path) -> Hashable | None:
        """The stamp of a file, or of a folder with all that counts below it. None where something
        changed so recently that a later change may have the same stamp.
        """
        text = str(path)
        if text not in self._stamps:
            found = tuple(_stamps(text))
            young = any(at > self._now - YOUNG_NS for one in found for at in one[2:4])
            self._stamps[text] = None if young else found
        return self._stamps[text]

    def of_all(self, paths: Iterable[Path]) -> Hashable | None:
        """The paths with their stamps; None if one of them has none."""
        found = tuple((str(path), self.of(path)) for path in paths)
        return None if any(stamp is None for _, stamp in found) else found

    def resolve(self, path: Path) -> Path:
        """As `Path.resolve`. A folder that holds many of the paths is resolved once."""
        text = str(path)
        if text not in self._resolved:
            self._resolved[text] = self._resolve(path)
        return self._resolved[text]

    def _resolve(self, path: Path) -> Path:
        if ".." in path.parts:  # behind a link it leads elsewhere than the text says
            return Path(os.path.realpath(path))
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        full = os.path.join(self._folders[folder], name)  # noqa: PTH118 - a tenth of the time
        return Path(os.path.realpath(full) if os.path.islink(full) else full)  # noqa: PTH114


def _stamps(path: str) -> Iterator[_Stamp]:
    """Of the path itself, and of all below it. What a link leads to counts as well."""
    try:
        status = os.stat(path)  # noqa: PTH116 - as above
    except (OSError, ValueError) as error:
        yield "", 0, 0, 0, getattr(error, "errno", None) or 0
        return
    yield _stamp("", status)
    if stat.S_ISDIR(status.st_mode):
        yield from _below(path, "")


def _below(folder: str, relative: str) -> Iterator[_Stamp]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield relative, 0, 0, 0, error.errno or 0
        return
    for entry in found:
        name = relative + entry.name
        if is_excluded(name):
            continue
        try:
            yield _stamp(name, entry.stat(follow_symlinks=False))
            if entry.is_symlink():
                yield _stamp(name, entry.stat())
            elif entry.is_dir():
                yield from _below(entry.path, f"{name}/")
        except OSError as error:  # a link to nothing, or a file that has just gone
            yield name, 0, 0, 0, error.errno or 0


def _stamp(name: str, status: os.stat_result) -> _Stamp:
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
