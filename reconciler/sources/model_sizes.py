"""The sizes of models on an Environment's share, from which the time for a start follows. A known
size is kept in the cache, because a revision depends on it and must not change while the share
cannot be read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reconciler.api.digest import is_excluded
from reconciler.api.reasons import Reason
from reconciler.arm import files
from reconciler.arm.share import Share
from reconciler.engine.errors import NotReadyYet, ReconcileError, WaitingForHuman
from reconciler.sources.quiet_period import QuietPeriod


class ModelSizes:
    """`arrived` is called when a model that is being written may be whole."""

    def __init__(self, cache: Path, arrived: Callable[[], None], quiet_period: QuietPeriod) -> None:
        self._file = cache / "share" / "model-sizes.json"
        self._arrived = arrived
        self._quiet_period = quiet_period
        self._known: dict[str, int] | None = None

    async def size(self, share: Share, path: str) -> int:
        """Bytes of the model at `path`. While somebody writes to it, or the share cannot be read,
        the last known size.

        Raises:
            ReconcileError: nobody has seen it whole.
        """
        place = f"{share.account}/{share.name}/{path}"
        known = await asyncio.to_thread(self._read)
        try:
            size = await self._look(share, path, place)
        except WaitingForHuman:
            raise
        except ReconcileError as error:
            if place in known:
                return known[place]
            raise NotReadyYet(error.reason, error.message) from error
        if known.get(place) != size:
            known[place] = size
            await asyncio.to_thread(self._write)
        return size

    async def _look(self, share: Share, path: str, place: str) -> int:
        listed = {
            name: entry
            for name, entry in (await files.list_tree(share, path)).items()
            if not is_excluded(name) and not files.is_temporary(name)
        }
        if not listed:
            text = f"there are no files in it on the share {share.name}; put them there"
            raise NotReadyYet(Reason.MISSING, text)
        if not self._quiet_period.is_over(place, listed, share.arm.time.now()):
            asyncio.get_running_loop().call_later(self._quiet_period.seconds, self._arrived)
            raise NotReadyYet(Reason.FETCHING, f"{path} on the share is being written")
        return sum(entry.size for entry in listed.values())

    def _read(self) -> dict[str, int]:
        if self._known is None:
            self._known = {}
            with suppress(OSError, ValueError):
                found = json.loads(self._file.read_text())
                self._known |= {str(place): int(size) for place, size in found.items()}
        return self._known

    def _write(self) -> None:
        """A cache that cannot be written costs a look after a restart, nothing else."""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._file.with_name(f"{self._file.name}.tmp")
            scratch.write_text(json.dumps(self._known, sort_keys=True))
            scratch.replace(self._file)
