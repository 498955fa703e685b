"""The shape of everything that wakes the loop. `supervisor` runs it and outlives its errors."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TypeVar

from reconciler.engine.external import Desired, DocumentRef

SpecT = TypeVar("SpecT")

# Seconds that what is only looked at again because of a save waits: with 1,000 services, lists of
# ten pages would compete with the write that the save asks for.
AFTER_A_SAVE = 2.0


class Edge(ABC):
    """Both methods may raise anything; the one that failed is called again after a pause.

    Edges are level-triggered: `act` looks at the present state. So an extra call changes nothing,
    and nothing is lost when a call fails.
    """

    name: str  # as a person reads it, such as `saved files`
    endless: bool = False  # `act` does not return while all is well

    @abstractmethod
    async def wait(self) -> None:
        """Return when there is something to do or to check."""

    @abstractmethod
    async def act(self) -> None:
        """Do it."""

    def concerns(self) -> Collection[DocumentRef] | None:
        """The documents that a failure of this edge concerns; None means all."""
        return None


class EdgeOverObjects(Edge):
    """An edge that does the same for many objects. An object that fails does not delay the others,
    and only the documents of those that failed are concerned.
    """

    def __init__(self) -> None:
        self._failed: dict[DocumentRef, Exception] = {}

    async def do_for_each(
        self, items: Iterable[Desired[SpecT]], do: Callable[[Desired[SpecT]], Awaitable[None]]
    ) -> None:
        """Act for every object, then raise the first error."""
        self._failed = {}
        for item in items:
            try:
                await do(item)
            except Exception as error:  # noqa: BLE001 - raised when the others are done
                self._failed.setdefault(item.document, error)
        if self._failed:
            raise next(iter(self._failed.values()))

    def concerns(self) -> Collection[DocumentRef]:
        return tuple(self._failed)


async def forever() -> None:
    """Wait until cancelled. A cancellation that was lost on the way here, where something that it
    met ended at the same time, counts.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    await asyncio.Event().wait()
