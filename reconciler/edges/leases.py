"""The lease of each Environment's share; only its holder may write. Each lease has an edge of its
own, so that a share that hangs does not delay the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from reconciler.edges.edge import Edge, forever
from reconciler.engine.external import DocumentRef
from reconciler.leadership import Leadership, Stand


class Lease(Edge):
    """Renews one lease in time. A refusal by Azure is no error here; `may_write` reports it."""

    def __init__(self, stand: Stand) -> None:
        self.name = f"the lease of Environment {stand.environment}"
        self._stand = stand
        self._pause = stand.rest  # a daemon that begins has just asked for its leases

    async def wait(self) -> None:
        if self._stand.over:
            await forever()
        await self._stand.pause(self._pause)

    async def act(self) -> None:
        self._pause = await self._stand.step()

    def concerns(self) -> Collection[DocumentRef]:
        return (DocumentRef("Environment", self._stand.environment),)


class Leases(Edge):
    """Starts a `Lease` for each Environment that documents begin to name."""

    name = "leases"

    def __init__(self, leadership: Leadership, start: Callable[[Edge], None]) -> None:
        self._leadership, self._start = leadership, start
        self._known: set[Stand] = set()

    async def wait(self) -> None:
        while self._known >= set(self._leadership.stands):
            self._leadership.changed.clear()
            await self._leadership.changed.wait()

    async def act(self) -> None:
        for stand in self._leadership.stands:
            if stand not in self._known:
                self._start(Lease(stand))
                self._known.add(stand)
