"""Adapters on an Environment's share, copied into the cache: a named folder, or the newest one
below a folder (`share://path/**`).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from reconciler.api.digest import is_excluded
from reconciler.api.loaded import Loaded
from reconciler.api.reasons import Reason
from reconciler.api.smb_names import name_fault
from reconciler.api.source import SourceRef
from reconciler.arm import files
from reconciler.arm.share import Share
from reconciler.engine.errors import NotReadyYet, TerminalError
from reconciler.sources.newest import candidates, faults
from reconciler.sources.quiet_period import QuietPeriod, Stamps, stamps_of
from serving.preflight import SIZE_LIMIT

MOST_BYTES = 2 * SIZE_LIMIT  # of a folder that is said to hold one adapter


@dataclass(frozen=True)
class Newest:
    """What `share://path/**` means now: the newest adapter that can be served, else the newest.
    `folder` is None while there is none, for `reason` and `why`; `waits` says that one is being
    written. `refused` are newer adapters that cannot be served, by their path on the share.
    """

    folder: Path | None
    reason: Reason = Reason.MISSING
    why: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    waits: bool = False


class Mirror:
    """`arrived` is called when an adapter that was still being written may be whole."""

    def __init__(self, cache: Path, arrived: Callable[[], None], quiet_period: QuietPeriod) -> None:
        self._cache = cache / "share"
        self._arrived = arrived
        self._quiet_period = quiet_period
        self._copied: dict[Path, Stamps] = {}  # what each folder here holds
        # What `newest` gave last, with what it passed over: a refusal that went missing would be
        # told a second time.
        self._chosen: dict[SourceRef, Newest] = {}

    async def folder(self, share: Share, path: str) -> Path:
        """The copy of a folder of the share. While somebody writes to it, the copy made before.

        Raises:
            ReconcileError: there is nothing to copy, or it is not whole yet.
            OSError: the cache cannot hold it.
        """
        folder = self._place(share, path)
        listed = await self._list(share, path)
        if self._rests(folder, listed, share.arm.time.now()):
            await self._copy(share, path, folder, listed)
        elif folder not in self._copied:
            raise NotReadyYet(Reason.FETCHING, f"{path} on the share is being written")
        return folder

    async def newest(self, ref: SourceRef, share: Share, below: str, loaded: Loaded) -> Newest:
        """The newest adapter below `below` that the document `loaded` can serve: each fine-tuning
        run leaves one of its own.
        """
        found, resting = candidates(
            await files.list_tree(share, below), self._quiet_period.seconds, share.arm.time.now()
        )
        if resting:  # one is being written: keep the last choice, never fall back to an older one
            self._look_later()
            if ref in self._chosen:
                return self._chosen[ref]
        refused: dict[str, str] = {}
        whole: list[Path] = []
        for each in found:
            path = f"{below}/{each}".rstrip("/")
            folder = self._place(share, path)
            try:
                await self._copy(share, path, folder, await self._list(share, path))
                whole.append(folder)
                problems = await asyncio.to_thread(faults, folder, loaded)
            except TerminalError as error:
                problems = (error.message,)
            if not problems:
                self._chosen[ref] = Newest(folder, refused=refused)
                return self._chosen[ref]
            refused[path] = "; ".join(problems)
        if refused:
            why = "; ".join(f"{path}: {why}" for path, why in refused.items())
            return Newest(whole[0] if whole else None, Reason.ADAPTER_FAILED, why, refused)
        none = f"there is no adapter below {below} on the share {share.name} yet"
        if resting:
            return Newest(None, Reason.FETCHING, f"{none}: one is being written", waits=True)
        return Newest(None, Reason.MISSING, f"{none}: it holds no adapter_config.json")

    def _place(self, share: Share, path: str) -> Path:
        return self._cache / share.account / share.name / path

    async def _list(self, share: Share, path: str) -> dict[str, files.Entry]:
        found = {
            name: entry
            for name, entry in (await files.list_tree(share, path)).items()
            if not is_excluded(name) and not files.is_temporary(name)
        }
        for name in found:
            for part in name.split("/"):
                if part in ("", ".", "..") or (name_fault(part, name)):
                    raise TerminalError(
                        Reason.SOURCE_UNREADABLE, f"{path} on the share holds the name {part!r}"
                    )
        if not found:
            raise TerminalError(Reason.MISSING, f"{path} on the share {share.name} holds no files")
        total = sum(entry.size for entry in found.values())
        if total > MOST_BYTES:
            raise TerminalError(
                Reason.SOURCE_UNREADABLE,
                f"{path} on the share holds {total / 2**30:.1f} GiB, which is no adapter",
            )
        return found

    def _rests(self, folder: Path, listed: Mapping[str, files.Entry], now: datetime) -> bool:
        """Whether the folder is unchanged since the last copy, or has not changed for a while."""
        if stamps_of(listed) == self._copied.get(folder):
            return True
        if self._quiet_period.is_over(str(folder), listed, now):
            return True
        self._look_later()
        return False

    def _look_later(self) -> None:
        asyncio.get_running_loop().call_later(self._quiet_period.seconds, self._arrived)

    async def _copy(
        self, share: Share, path: str, folder: Path, listed: Mapping[str, files.Entry]
    ) -> None:
        """Fetch what changed since the last copy, by its etag, and remove what is gone."""
        known = self._copied.pop(folder, {})
        await asyncio.to_thread(_remove_others, folder, listed)
        for name, entry in listed.items():
            if known.get(name) != entry.etag or not (folder / name).is_file():
                data = await files.read(share, f"{path}/{name}")
                if data is None or len(data) != entry.size:
                    raise NotReadyYet(
                        Reason.SOURCE_CHANGED, f"{path}/{name} changed while it was read"
                    )
                await asyncio.to_thread(_write, folder / name, data)
        self._copied[folder] = stamps_of(listed)


def _remove_others(folder: Path, listed: Mapping[str, object]) -> None:
    """Remove what is not listed, and each file that is a folder in the listing or vice versa."""
    with suppress(FileNotFoundError):
        if not folder.is_dir():
            folder.unlink()
    folders = {parent.as_posix() for name in listed for parent in Path(name).parents}
    for here in sorted(folder.rglob("*"), reverse=True):
        relative = here.relative_to(folder).as_posix()
        is_folder = here.is_dir() and not here.is_symlink()
        if is_folder and relative not in folders:
            shutil.rmtree(here)
        elif not is_folder and relative not in listed:
            here.unlink()


def _write(path: Path, data: bytes) -> None:
    """Write the file whole or not at all: another command may read the same cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.tmp")
    scratch.write_bytes(data)
    scratch.replace(path)
