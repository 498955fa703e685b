"""The digest of a folder: over sorted relative paths, sizes and SHA-256. What is published is
addressed by it.

Synchronous: callers hash in a thread. `StatCache` keeps hashes of files that have not changed, so
    they are read once.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from reconciler.api.regular_files import NEITHER, open_regular
from reconciler.api.smb_names import ancestors, collision_key, name_fault
from reconciler.api.stat_cache import Stamp, StatCache

# The one list of files that no replica reads: neither a digest nor an upload includes them.
EXCLUDED = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".gitignore",
        ".gitattributes",
        ".moorage",
        ".moorage.json",
        ".venv",
        "__pycache__",
        ".mypy_cache",
    }
    | {
        ".ruff_cache",
        ".pytest_cache",
        ".ipynb_checkpoints",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
    }
)
# Files that the hub's client writes beside its downloads; they hold times that always differ.
EXCLUDED_PATHS = tuple(
    f".cache/huggingface/{name}"
    for name in ("download", "trees", "CACHEDIR.TAG", ".gitignore.lock")
)
EXCLUDED_ENDINGS = (".tmp", ".swp", ".swx", ".pyc", ".pyo", ".crdownload", "~")

# file systems stamp files with the kernel's clock, which moves in steps of up to 10 ms
_TICK_NS = 20_000_000
_COARSE_NS = 2_000_000_000  # FAT and some network file systems stamp whole seconds only


@dataclass(frozen=True)
class File:
    """One file of a tree: its size in bytes, its SHA-256 in hex, and where it lies here."""

    size: int
    sha256: str
    path: Path


@dataclass(frozen=True)
class Tree:
    """A folder's content. `digest` is 64 hex digits, of which people see the first 12; `files` by
    relative posix path, sorted. With `dtype` the weights were rewritten with floats of that type,
    and `digest` is that of the source.
    """

    digest: str
    files: Mapping[str, File]
    dtype: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files.values())


class TreeError(Exception):
    """A folder that cannot be published: `problems` are (relative path, what is wrong) pairs, all
    of them.
    """

    def __init__(self, folder: Path, problems: tuple[tuple[str, str], ...]) -> None:
        self.folder = folder
        self.problems = problems
        super().__init__(f"{folder}: {self.said}")

    @property
    def said(self) -> str:
        """What is wrong, without the folder."""
        return "; ".join(f"{path} {what}".strip() for path, what in self.problems[:10])


class TreeChanging(TreeError):
    """A file changed while it was read: somebody is still writing. Look again later."""


def digest_tree(
    folder: Path, cache: StatCache | None = None, *, only: Collection[str] = ()
) -> Tree:
    """Hash what `folder` holds, less what is excluded; of its files, `only` these when they are
    given and there. Files whose stamp `cache` knows are not read.

    Raises:
        TreeError: the folder is missing, unreadable or empty, or holds links, special files, or
            names that a file share cannot hold or tell apart.
        TreeChanging: a file changed while it was read.
    """
    found = _list(folder, only)
    known = cache.read(folder) if cache else {}
    fresh: dict[str, tuple[Stamp, str]] = {}
    files: dict[str, File] = {}
    for relative, entry in sorted(found.items(), key=lambda item: item[0].encode()):
        path, stamp = folder / relative, Stamp.of(entry)
        cached = known.get(relative)
        if cached and cached[0] == stamp:
            sha256 = cached[1]
        else:
            sha256, keep = _hash(folder, relative, stamp)
            if keep:
                fresh[relative] = (stamp, sha256)
        files[relative] = File(stamp.size, sha256, path)
    gone = set() if only else known.keys() - files.keys()
    if cache and (fresh or gone):
        cache.write(folder, fresh, gone=gone)
    return Tree(
        digest_of((relative, file.size, file.sha256) for relative, file in files.items()),
        MappingProxyType(files),
    )


def digest_of(files: Iterator[tuple[str, int, str]]) -> str:
    """The digest of (relative posix path, size, SHA-256 hex) triples, already sorted by the path's
    UTF-8 bytes.
    """
    total = hashlib.sha256()
    for relative, size, sha256 in files:
        total.update(f"{relative}\0{size}\0{sha256}\n".encode())
    return total.hexdigest()


def is_excluded(path: str) -> bool:
    """Whether the file or folder at this relative posix path never counts as content; what lies in
    an excluded folder does not count either.
    """
    names = path.split("/")
    return any(name in EXCLUDED or name.endswith(EXCLUDED_ENDINGS) for name in names) or any(
        f"/{path}/".find(f"/{excluded}/") >= 0 for excluded in EXCLUDED_PATHS
    )


def _list(folder: Path, only: Collection[str]) -> dict[str, os.stat_result]:
    """Every file below `folder` that counts, by relative posix path."""
    problems: list[tuple[str, str]] = []
    chosen = {name for name in only if os.path.lexists(folder / name)}
    found = dict(_walk(folder, "", problems, chosen))
    problems += _collisions(found)
    if not found and not problems:
        problems.append(("", "holds no files"))
    if problems:
        raise TreeError(folder, tuple(sorted(problems)))
    return found


def _walk(
    folder: Path, below: str, problems: list[tuple[str, str]], only: Collection[str] = ()
) -> Iterator[tuple[str, os.stat_result]]:
    try:
        entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
    except OSError as error:
        problems.append((below.rstrip("/"), f"cannot be read ({error.strerror})"))
        return
    for entry in entries:
        relative = below + entry.name
        if is_excluded(relative) or (only and relative not in only):
            continue
        if fault := name_fault(entry.name, relative):
            problems.append((relative, fault))
        elif entry.is_symlink():
            problems.append(
                (relative, "is a link, which a file share does not keep; put the file itself there")
            )
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(folder, relative + "/", problems)
        else:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                problems.append((relative, f"cannot be read ({error.strerror})"))
                continue
            if stat.S_ISREG(status.st_mode):
                yield relative, status
            else:
                problems.append((relative, NEITHER))


def _collisions(found: Mapping[str, os.stat_result]) -> list[tuple[str, str]]:
    """Names that a share, which ignores case, would take for one: files and the folders they lie
    in.
    """
    seen: dict[str, str] = {}
    clashes = {}
    for relative in found:
        for path in (*ancestors(relative), relative):
            first = seen.setdefault(collision_key(path), path)
            if first != path:
                clashes[path] = (
                    f"differs from {first} in case or accents only, which a file share takes for"
                    " the same name"
                )
    return list(clashes.items())


def _hash(folder: Path, relative: str, stamp: Stamp) -> tuple[str, bool]:
    """The file's SHA-256 and whether its stamp can vouch for it from now on."""
    _wait_for_next_tick(stamp)
    started = time.time_ns()
    try:
        with open_regular(folder / relative) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            after = Stamp.of(os.fstat(file.fileno()))
    except OSError as error:
        raise TreeError(folder, ((relative, f"cannot be read ({error.strerror})"),)) from None
    if after != stamp:
        raise TreeChanging(folder, ((relative, "changed while it was read"),))
    coarse = stamp.mtime_ns % 1_000_000_000 == 0
    return sha256, not coarse or abs(started - stamp.mtime_ns) > _COARSE_NS


def _wait_for_next_tick(stamp: Stamp) -> None:
    """Let this tick of the clock pass: a file written within it could change again and keep its
    stamp.
    """
    age = time.time_ns() - max(stamp.mtime_ns, stamp.ctime_ns)
    if 0 <= age < _TICK_NS:
        time.sleep((_TICK_NS - age) / 1e9)
