"""What an SMB client sees of a directory of this machine. `server` puts the kernel in front of it.

Listings are as old as `actimeo`; a name is found in any case and refused when SMB cannot hold it;
nothing is renamed over a file that somebody has open; there are no links. A file that is open holds
a shared lock on the disk, which the data plane respects.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_FORBIDDEN = re.compile(r'["\\/:|<>*?\x00-\x1f]|[. ]$')
_DEVICES = re.compile(r"(con|prn|aux|nul|clock\$|com[1-9]|lpt[1-9])", re.IGNORECASE)


@dataclass
class Node:
    """A path below the root that the kernel knows by number; `inode` tells when something else took
    its place.
    """

    path: Path
    inode: int
    lookups: int = 0


@dataclass
class Listing:
    until: float
    entries: list[tuple[str, int, bool]] = field(default_factory=list)


class View:
    """Raises OSError with the errno that a mount would give."""

    def __init__(
        self, root: Path, actimeo: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.actimeo = actimeo
        self._clock = clock
        self._nodes = {1: Node(root, os.lstat(root).st_ino, 1)}
        self._numbers = {root: 1}
        self._next = 1
        self._listings: dict[Path, Listing] = {}
        self._open: dict[int, tuple[int, Path]] = {}
        self._listed: dict[int, list[tuple[str, int, bool]]] = {}

    # -- names
    def lookup(self, parent: int, name: str) -> tuple[int, os.stat_result]:
        """The number and state of a name, in whatever case it is asked for."""
        return self._remember(self._find(self.path(parent), name))

    def forget(self, number: int, count: int) -> None:
        node = self._nodes.get(number)
        if node is None or number == 1:
            return
        node.lookups -= count
        if node.lookups <= 0:
            del self._nodes[number]
            if self._numbers.get(node.path) == number:
                del self._numbers[node.path]

    def path(self, number: int) -> Path:
        node = self._nodes.get(number)
        if node is None:
            raise OSError(errno.ESTALE, "no such node")
        return node.path

    def state(self, number: int, handle: int | None = None) -> os.stat_result:
        if handle in self._open:
            return os.fstat(self._open[handle][0])
        return _visible(self.path(number))

    # -- directories
    def open_directory(self, number: int) -> int:
        """A handle on a listing, which may be as old as `actimeo`."""
        path = self.path(number)
        known = self._listings.get(path)
        if known is None or known.until <= self._clock():
            with os.scandir(path) as found:
                entries = [
                    (entry.name, entry.inode(), entry.is_dir())
                    for entry in found
                    if not entry.is_symlink()
                ]
            known = self._listings[path] = Listing(self._clock() + self.actimeo, sorted(entries))
        self._next += 1
        self._listed[self._next] = known.entries
        return self._next

    def listed(self, handle: int) -> list[tuple[str, int, bool]]:
        return self._listed[handle]

    def close_directory(self, handle: int) -> None:
        self._listed.pop(handle, None)

    def make_directory(self, parent: int, name: str) -> tuple[int, os.stat_result]:
        path = self._new(parent, name)
        path.mkdir(mode=0o755)
        return self._changed(path)

    def remove(self, parent: int, name: str, *, directory: bool) -> None:
        path = self._find(self.path(parent), name)
        if directory:
            path.rmdir()
        else:
            path.unlink()
        self._listings.pop(path.parent, None)

    def rename(self, parent: int, name: str, new_parent: int, new_name: str) -> None:
        """SMB refuses to replace what is open, and to move a directory in which
        something is open.
        """
        _check_name(new_name)
        source, folder = self._find(self.path(parent), name), self.path(new_parent)
        target = folder / new_name
        with suppress(FileNotFoundError):
            there = self._find(folder, new_name)
            if not there.samefile(source):
                if _is_open(there):
                    raise OSError(errno.EACCES, "the target is open")
                if there != target:  # the same name in another case
                    there.rmdir() if there.is_dir() else there.unlink()
        if source.is_dir() and any(path.is_relative_to(source) for _, path in self._open.values()):
            raise OSError(errno.EACCES, "a file below is open")
        source.rename(target)
        self._moved(source, target)
        for changed in (source.parent, folder):
            self._listings.pop(changed, None)

    # -- files
    def create(self, parent: int, name: str, flags: int) -> tuple[int, os.stat_result, int]:
        try:
            path = self._find(self.path(parent), name)
        except FileNotFoundError:
            path = self._new(parent, name)
        handle = self._opened(path, flags | os.O_CREAT)
        return *self._changed(path), handle

    def open(self, number: int, flags: int) -> int:
        return self._opened(self.path(number), flags & ~(os.O_CREAT | os.O_EXCL))

    def read(self, handle: int, size: int, offset: int) -> bytes:
        return os.pread(self._open[handle][0], size, offset)

    def write(self, handle: int, data: bytes, offset: int) -> int:
        view, place = memoryview(data), offset
        while view:
            count = os.pwrite(self._open[handle][0], view, place)
            view, place = view[count:], place + count
        return len(data)

    def sync(self, handle: int) -> None:
        os.fsync(self._open[handle][0])

    def close(self, handle: int) -> None:
        descriptor, _ = self._open.pop(handle, (None, None))
        if descriptor is not None:
            os.close(descriptor)

    def truncate(self, number: int, size: int, handle: int | None) -> None:
        if handle in self._open:
            os.ftruncate(self._open[handle][0], size)
        else:
            os.truncate(self.path(number), size)

    def touch(self, number: int, accessed: int | None, modified: int | None) -> None:
        """Set the times, in nanoseconds; None leaves one as it is."""
        path = self.path(number)
        before = os.lstat(path)
        os.utime(
            path,
            ns=(
                before.st_atime_ns if accessed is None else accessed,
                before.st_mtime_ns if modified is None else modified,
            ),
        )

    def usage(self) -> os.statvfs_result:
        return os.statvfs(self.path(1))

    def _find(self, folder: Path, name: str) -> Path:
        exact = folder / name
        if os.path.lexists(exact):
            _visible(exact)
            return exact
        wanted = name.casefold()
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.casefold() == wanted and not entry.is_symlink():
                    return folder / entry.name
        raise FileNotFoundError(errno.ENOENT, "no such file", name)

    def _new(self, parent: int, name: str) -> Path:
        _check_name(name)
        folder = self.path(parent)
        with suppress(FileNotFoundError):
            self._find(folder, name)
            raise FileExistsError(errno.EEXIST, "it is there in another case", name)
        return folder / name

    def _opened(self, path: Path, flags: int) -> int:
        # the kernel may read pages that are written in part
        access = os.O_RDWR if flags & os.O_ACCMODE else os.O_RDONLY
        descriptor = os.open(
            path,
            access | flags & (os.O_CREAT | os.O_EXCL | os.O_TRUNC) | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o644,
        )
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._next += 1
        self._open[self._next] = (descriptor, path)
        return self._next

    def _remember(self, path: Path) -> tuple[int, os.stat_result]:
        state = _visible(path)
        number = self._numbers.get(path, 0)
        if not number or self._nodes[number].inode != state.st_ino:
            self._next += 1
            number = self._numbers[path] = self._next
            self._nodes[number] = Node(path, state.st_ino)
        self._nodes[number].lookups += 1
        return number, state

    def _changed(self, path: Path) -> tuple[int, os.stat_result]:
        """A client sees its own changes at once."""
        self._listings.pop(path.parent, None)
        return self._remember(path)

    def _moved(self, source: Path, target: Path) -> None:
        for number, node in self._nodes.items():
            if node.path == source or node.path.is_relative_to(source):
                self._numbers.pop(node.path, None)
                node.path = target / node.path.relative_to(source)
                self._numbers[node.path] = number


def _visible(path: Path) -> os.stat_result:
    """A file's or directory's state; links and devices are not part of a share."""
    state = os.lstat(path)
    if state.st_mode & 0o170000 not in {0o040000, 0o100000}:
        raise FileNotFoundError(errno.ENOENT, "not part of the share", str(path))
    return state


def _check_name(name: str) -> None:
    if _FORBIDDEN.search(name) or _DEVICES.fullmatch(name):
        raise OSError(errno.EINVAL, "a name that SMB cannot hold", name)


def _is_open(path: Path) -> bool:
    """Does any mount of this machine hold the file open?"""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
