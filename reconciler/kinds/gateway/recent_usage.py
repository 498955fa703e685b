"""What the callers of a gateway have used since yesterday, kept up with the files that its replicas
append to: each byte is read once. `gateway_usage` reads longer periods for a person who asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.api.outputs import KeyUsage
from reconciler.api.resources import ShareRef
from reconciler.arm import files
from reconciler.arm.files import Entry
from reconciler.arm.share import Share
from reconciler.engine.errors import ReconcileError
from reconciler.kinds.gateway.gateway_usage import UsedLines, day_of, lines_in, totals
from reconciler.kinds.share.shares import Shares
from serving.gateway.routes import UsageLine

EVERY = timedelta(seconds=30)  # between looks at the files
PIECE = 1 << 20  # bytes of one request
BUDGET = 16  # requests of one look; what is left is read in the next
MOST = 100  # keys that are reported: the greatest users
FOLDERS = 200  # replicas whose files are read


@dataclass
class _UsageFile:
    """How far a file has been read, and the sums of what was read, by key."""

    offset: int = 0
    etag: str = ""
    sums: list[UsageLine] = field(default_factory=list)


@dataclass
class _Kept:
    at: datetime
    files: dict[str, _UsageFile] = field(default_factory=dict)
    past: set[str] = field(default_factory=set)  # folders that nobody writes to any more
    usage: tuple[KeyUsage, ...] = ()


class RecentUsage:
    """Sums by gateway. While the share fails, the last sums stand: the routes do not need them."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self._kept: dict[tuple[ShareRef, str], _Kept] = {}

    async def read(self, share: ShareRef, folder: str) -> tuple[KeyUsage, ...]:
        """The sums by key; at most `EVERY` seconds old, and older while the share fails."""
        now = self.shares.now()
        kept = self._kept.get((share, folder))
        if kept is not None and now - kept.at < EVERY:
            return kept.usage
        kept = self._kept.setdefault((share, folder), _Kept(now))
        since = (now.date() - timedelta(days=1)).isoformat()
        try:
            await self._follow(self.shares.open(share), f"{folder}/usage", since, kept)
        except ReconcileError:
            kept.at = now
            return kept.usage
        kept.at = now
        sums = totals((line for each in kept.files.values() for line in each.sums), "key")
        sums.sort(key=lambda line: (-line.input_tokens - line.output_tokens, line.key))
        kept.usage = tuple(_of(line, since) for line in sums[:MOST])
        return kept.usage

    async def _follow(self, share: Share, folder: str, since: str, kept: _Kept) -> None:
        """Read what is new in the files of these days."""
        _, replicas = await files.list_directory(share, folder)
        kept.files = {path: each for path, each in kept.files.items() if day_of(path) >= since}
        budget = BUDGET
        for replica in [name for name in replicas if name not in kept.past][:FOLDERS]:
            entries, _ = await files.list_directory(share, f"{folder}/{replica}")
            for entry in entries:
                path = f"{replica}/{entry.path}"
                if day_of(path) < since:
                    continue
                known = kept.files.setdefault(path, _UsageFile())
                while budget and entry.etag != known.etag:
                    budget -= 1
                    if await _read_on(share, f"{folder}/{path}", known):
                        known.etag = entry.etag
            # A replica that lives writes its state every few seconds.
            if entries and all(_written(entry) < since for entry in entries):
                kept.past.add(replica)


async def _read_on(share: Share, path: str, file: _UsageFile) -> bool:
    """Add the next lines of a file. Returns whether it was read to its end. The next look reads an
    unfinished line again, when its replica has completed it.
    """
    data = await files.read_on(share, path, file.offset, PIECE)
    whole = data.rfind(b"\n") + 1
    if not whole and len(data) == PIECE:
        whole = PIECE  # no valid line is that long, so it is skipped
    usage = UsedLines([])
    file.sums = totals([*file.sums, *lines_in(data[:whole], usage)], "key")
    file.offset += whole
    return len(data) < PIECE


def _written(entry: Entry) -> str:
    """The day of the last write; a day in the future if the share gives none."""
    return entry.modified.date().isoformat() if entry.modified else "9"


def _of(line: UsageLine, since: str) -> KeyUsage:
    return KeyUsage(
        line.key,
        since,
        line.requests,
        line.input_tokens,
        line.output_tokens,
        line.errors,
        line.held_seconds,
    )
