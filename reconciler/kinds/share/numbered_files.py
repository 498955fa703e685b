"""A folder on the share whose files are versions of one thing, each a new file with a higher
number: the catalogues of an engine, the routes of a gateway. Readers over SMB could see half of a
file that is overwritten, so none ever is; the highest valid one wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from reconciler.api.resources import ShareRef
from reconciler.arm import files
from reconciler.engine.external import Identity, Progress, Wrote
from reconciler.kinds.share.shares import Shares

KEPT = 10  # files left in a folder, for readers with an old listing and for people


class NumberedFile(Protocol):
    """What one file holds."""

    @property
    def file_name(self) -> str: ...

    def dump(self) -> bytes: ...


Content = TypeVar("Content", bound=NumberedFile)


class NumberedFiles(Generic[Content]):
    """`pattern` matches the names of the files, `load` reads one and gives None for bytes that are
    torn, foreign or longer than `longest`.
    """

    def __init__(
        self,
        shares: Shares,
        pattern: re.Pattern[str],
        load: Callable[[bytes], Content | None],
        longest: int,
    ) -> None:
        self._shares = shares
        self._pattern, self._load, self._longest = pattern, load, longest
        self._read: dict[tuple[ShareRef, str], dict[tuple[str, str], Content | None]] = {}
        self._last: dict[tuple[ShareRef, str], Content] = {}
        self._lists: dict[tuple[ShareRef, str], list[Content]] = {}

    async def at_rest(self, ref: ShareRef, folder: str) -> Content | None:
        """The highest valid version. The folder is listed again only in its turn, because nobody
        else writes there.
        """
        last, rounds = self._last.get((ref, folder)), self._shares.rounds
        if last is None or rounds.due((ref, folder)):
            last, _ = await self.newest(ref, folder)
            rounds.looked((ref, folder))
        if last is None:
            self._last.pop((ref, folder), None)
        else:
            self._last[ref, folder] = last
        return last

    async def all_at_rest(self, ref: ShareRef, folder: str) -> list[Content]:
        """The valid versions in ascending order. The folder is listed again only in its turn."""
        rounds = self._shares.rounds
        if (ref, folder) not in self._lists or rounds.due((ref, folder)):
            self._lists[ref, folder], _ = await self.all(ref, folder)
            rounds.looked((ref, folder))
        return self._lists[ref, folder]

    async def newest(self, ref: ShareRef, folder: str) -> tuple[Content | None, list[str]]:
        """The highest valid version, and the names of all files in ascending order."""
        found, names = await self._valid(ref, folder, 1)
        return found[0] if found else None, names

    async def all(self, ref: ShareRef, folder: str) -> tuple[list[Content], list[str]]:
        """The valid versions and the names of all files, both in ascending order."""
        found, names = await self._valid(ref, folder, KEPT)
        return found[::-1], names

    async def _valid(
        self, ref: ShareRef, folder: str, most: int
    ) -> tuple[list[Content], list[str]]:
        share = self._shares.open(ref)
        entries, _ = await files.list_directory(share, folder)
        listed = sorted((e.path, e.etag) for e in entries if self._pattern.match(e.path))
        before = self._read.get((ref, folder), {})
        found: list[Content] = []
        # Files no longer listed are forgotten, or a folder that changes often would fill memory.
        known = self._read[ref, folder] = {each: before[each] for each in listed if each in before}
        for name, etag in reversed(listed):
            if len(found) == most:
                break
            if (name, etag) not in known:
                data = await files.read(share, f"{folder}/{name}", self._longest)
                known[name, etag] = self._load(data or b"")
            content = known[name, etag]
            # A file under another version's name is a copy that somebody made.
            if content is not None and content.file_name == name:
                found.append(content)
        return found, [name for name, _ in listed]

    async def write(
        self, ref: ShareRef, folder: str, content: Content, names: Sequence[str]
    ) -> None:
        """Add a version, and delete the oldest of the present files `names`."""
        share = self._shares.open(ref)
        self._shares.rounds.forget((ref, folder))
        await files.write(share, f"{folder}/{content.file_name}", content.dump())
        for old in names[:-KEPT]:
            await files.delete(share, f"{folder}/{old}")


class FolderOnShare:
    """What all kinds that are a folder on the share have in common."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares

    async def exists(self, identity: Identity) -> bool:
        found, below = await files.list_directory(*self.shares.find(identity))
        return bool(found or below)

    async def delete(self, identity: Identity) -> Wrote | None:
        share, folder = self.shares.find(identity)
        self.shares.rounds.forget_below(folder)
        await files.delete_tree(share, folder)
        return Wrote(f"delete {folder}")

    async def poll(self, identity: Identity, operation: str) -> Progress:
        """A write to the share has ended when it returns."""
        return Progress(done=True)

    async def make(self, ref: ShareRef, folders: Iterable[str]) -> None:
        """Make folders that a reader lists before anything is in them."""
        await files.make_parents(self.shares.open(ref), [f"{folder}/x" for folder in folders])
