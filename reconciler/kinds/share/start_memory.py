"""How long the starts of each service took, kept on the share, so that a daemon that lost its state
file or runs on another machine predicts as well as the one before. `looks` recalls them, the edge
`edges.kept_starts` keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from reconciler.api.outputs import SeenStart
from reconciler.api.resources import ShareRef
from reconciler.arm import files
from reconciler.kinds.share.shares import Shares
from serving.catalogue import Contract, sealed, unsealed
from serving.gateway.learning import RECENT
from serving.gateway.routes import StartSeen

LONGEST = 64 << 10  # bytes; seven starts are 3 kB
_KIND = "starts"
Word = Annotated[str, Field(max_length=200)]


class KeptStart(Contract):
    """A cold start; its fields are those of `SeenStart`."""

    replica: Word
    began: Word
    start: StartSeen


class KeptStarts(Contract):
    """The newest starts of one service, newest last."""

    starts: Annotated[tuple[KeptStart, ...], Field(max_length=RECENT)] = ()


class StartMemory:
    """`services/<service>/starts.json` of each service, which the leader alone writes."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._there: dict[tuple[ShareRef, str], tuple[SeenStart, ...]] = {}

    async def recall(self, share: ShareRef, service: str) -> tuple[SeenStart, ...]:
        """The starts on the share, which is read once; none if the file is missing or unusable.

        Raises:
            ReconcileError: the share could not be read.
        """
        if (share, service) not in self._there:
            data = await files.read(self._shares.open(share), _path(service), LONGEST)
            self._there[share, service] = _loaded(data or b"")
        return self._there[share, service]

    async def keep(self, share: ShareRef, service: str, starts: Sequence[SeenStart]) -> None:
        """Write the starts if the share has others.

        Raises:
            ReconcileError: they could not be written; the next call tries again.
        """
        starts = tuple(starts[-RECENT:])
        if not starts or await self.recall(share, service) == starts:
            return
        await files.write(self._shares.open(share), _path(service), _dumped(starts))
        self._there[share, service] = starts


def _path(service: str) -> str:
    return f"services/{service}/starts.json"


def _dumped(starts: Sequence[SeenStart]) -> bytes:
    kept = KeptStarts(
        starts=tuple(KeptStart(replica=s.replica, began=s.began, start=s.start) for s in starts)
    )
    return sealed(_KIND, kept.model_dump(mode="json", by_alias=True))


def _loaded(data: bytes) -> tuple[SeenStart, ...]:
    try:
        kept = KeptStarts.model_validate(unsealed(_KIND, data, LONGEST))
    except ValueError:  # no file yet, or it was changed by others
        return ()
    return tuple(SeenStart(each.replica, each.began, each.start) for each in kept.starts)
