"""A daemon inside the test's own process, on a stage: as fast as a daemon can be, and without the
start of a process. Its time limits are short, so that what Azure mends is seen at once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from reconciler.daemon import Daemon
from reconciler.engine.backoff import Backoff
from reconciler.engine.errors import ReconcileError
from reconciler.engine.result import Pacing
from reconciler.settings import Settings
from tests.e2e.stage import Stage, condition_of, is_converged
from tests.patience import patient

FAST = Pacing(
    fastest=0.05,
    slowest=0.5,
    slow=1.0,
    stubborn=2.0,
    grace=0.2,
    resync=2.0,
    pauses=(0.0, 0.2, 0.5),
)
BACKOFF_S = 1.0
OFTEN, SELDOM = 0.02, 0.3  # seconds between looks at what has changed, and what may have


class Inside:
    """A running daemon; `document` and `condition` are as `moorage status` shows them."""

    def __init__(self, stage: Stage, daemon: Daemon) -> None:
        self.stage = stage
        self.daemon = daemon

    async def save(self, *documents: dict[str, Any]) -> None:
        """Save and have it read at once."""
        self.stage.save(*documents)
        await self.daemon.load()

    def document(self, name: str, kind: str = "InferenceService") -> dict[str, Any] | None:
        documents = self.daemon.status()["documents"]
        return next((d for d in documents if (d["kind"], d["name"]) == (kind, name)), None)

    def condition(self, name: str, type_: str, kind: str = "InferenceService") -> dict[str, Any]:
        return condition_of(self.document(name, kind), type_)

    def said(self) -> str:
        """Every condition and event, for the message of a failed test."""
        lines = [
            f"{document['kind']}/{document['name']} {c['type']}={c['status']} {c['reason']}:"
            f" {c['message']}"
            for document in self.daemon.status()["documents"]
            for c in document["conditions"]
        ]
        lines += [
            f"{r.key} {r.phase} {r.reason}: {r.message}" for r in self.daemon.controller.records()
        ]
        lines += [f"event {e.reason} {e.object}: {e.message}" for e in self.daemon.store.events()]
        return "\n".join(lines)

    def events(self) -> set[str]:
        return {str(event.reason) for event in self.daemon.store.events()}

    async def until(self, check: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
        """Asks at once when the daemon has stored anything, else seldom: a status takes longer to
        make than most of what the daemon does.
        """
        seconds = patient(seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (found := check()):
                    changes, rest = self._changes(), SELDOM
                    while rest > 0 and self._changes() == changes:
                        await asyncio.sleep(OFTEN)
                        rest -= OFTEN
                return found
        raise AssertionError(f"not within {seconds} s: {what}\n{self.said()}")

    def _changes(self) -> int:
        return int(self.daemon.store.database.connection.total_changes)

    async def converged(self, *names: str, seconds: float = 60.0) -> None:
        def check() -> bool:
            found = [self.document(name) for name in names]
            return all(document and is_converged(document) for document in found)

        await self.until(check, f"{names} are ready and in sync", seconds)

    async def settled(self, seconds: float = 60.0) -> int:
        """Until everything is ready, terminal or up to a person: the exit class."""
        seconds = patient(seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return int(await self.daemon.controller.settled())
        raise AssertionError(f"not settled within {seconds} s\n{self.said()}")


async def first_look(daemon: Daemon) -> None:
    """As `moorage up` does: Azure may refuse the first questions."""
    async with asyncio.timeout(90):
        while True:
            try:
                await daemon.load()
                return
            except ReconcileError:
                await asyncio.sleep(0.2)


@asynccontextmanager
async def inside(stage: Stage, owner: str, pacing: Pacing = FAST) -> AsyncIterator[Inside]:
    """A daemon on the documents that are saved by now, which runs for the length of the block. Each
    `owner` has documents and state of its own, and nothing of another's is touched.
    """
    settings = Settings.for_local(
        stage.facts, {}, state_dir=stage.root / owner, owner=owner, resync=pacing.resync
    )
    stop = asyncio.Event()
    async with Daemon(settings, [stage.manifest], pacing=pacing) as daemon:
        daemon.controller._backoff = Backoff(base=0.1, cap=BACKOFF_S)
        await first_look(daemon)
        running = asyncio.create_task(daemon.run(stop))
        try:
            yield Inside(stage, daemon)
        finally:
            stop.set()
            await running
