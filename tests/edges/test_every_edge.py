"""A daemon on a real local Azure whose edges fail, each of them, while waiting and while acting: it
lives, says so in an event and a condition, and all is well when they work again.
"""

import asyncio
from inspect import isabstract

import pytest

from reconciler import edges
from reconciler.api.conditions import ConditionType
from reconciler.daemon import Daemon
from reconciler.edges import supervisor
from reconciler.edges.edge import Edge
from reconciler.edges.git_repository import GitRepository
from reconciler.edges.notify import Receiver
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import MEMORY, Store
from reconciler.engine.verdict import ExitClass
from reconciler.lock import FolderLock
from reconciler.settings import Settings
from tests.e2e.stage import Stage, environment

DEV = DocumentRef("Environment", "dev")
FAILURES = 2  # of each method
SILENT = Receiver("http://127.0.0.1:9", "webhook", "", frozenset())  # gets no notice
NOT_HERE = {GitRepository}  # in its place: this daemon reads its documents from a file
pytestmark = pytest.mark.e2e


class Failing(Edge):
    """Another edge, which fails at first. Then it acts once without waiting, as any edge may."""

    def __init__(self, inner: Edge):
        self.inner, self.name, self.endless = inner, inner.name, inner.endless
        self.waits, self.acts, self.waited = FAILURES, FAILURES, False

    async def wait(self):
        if self.waits:
            self.waits -= 1
            raise ValueError("wait")
        if self.waited:
            await self.inner.wait()
        self.waited = True

    async def act(self):
        if self.acts:
            self.acts -= 1
            raise OSError(5, "Input/output error", "act")
        await self.inner.act()

    def concerns(self):
        return self.inner.concerns()


def classes(base=Edge):
    """Every edge of the product."""
    for found in base.__subclasses__():
        if found.__module__.startswith(edges.__name__) and not isabstract(found):
            yield found
        yield from classes(found)


@pytest.fixture
def stage(tmp_path):
    with Stage(tmp_path) as stage:
        stage.save(environment("dev"))
        stage.once()
        yield stage


async def until(met, seconds=60):
    async with asyncio.timeout(seconds):
        while not met():
            await asyncio.sleep(0.05)


async def test_every_edge_may_fail_in_both_its_methods(stage, monkeypatch):
    """The daemon outlives all of it at once; each edge is reported and recovers, and a save made
    meanwhile is followed.
    """
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.1)
    failing: dict[str, Failing] = {}
    start = supervisor.Supervisor.start

    def start_failing(self, edge):
        failing[edge.name] = Failing(edge)
        start(self, failing[edge.name])

    monkeypatch.setattr(supervisor.Supervisor, "start", start_failing)
    settings = Settings.for_local(stage.facts, {}, state_dir=stage.state)
    store, stop = Store.open(MEMORY, "local"), asyncio.Event()
    with FolderLock(settings.daemon_dir) as lock:
        async with Daemon(
            settings, [stage.manifest], store=store, lock=lock, receiver=SILENT
        ) as daemon:
            await daemon.load()
            running = asyncio.create_task(daemon.run(stop))
            await until(lambda: watched(daemon) is not None)
            stage.save(environment("dev"), environment("prod"))
            await until(lambda: len(daemon.composition.names) == len(leases(failing)) == 2)
            await until(lambda: said(daemon, "Recovered") == set(failing))
            await until(lambda: daemon.controller.converged() == ExitClass.DONE)
            assert said(daemon, "InternalError") == set(failing)
            assert watched(daemon) is None
            assert {type(edge.inner) for edge in failing.values()} == set(classes()) - NOT_HERE
            assert not running.done()
            stop.set()
            await asyncio.wait_for(running, 30)


def watched(daemon):
    return daemon.controller.conditions(DEV).get(ConditionType.WATCHED)


def leases(failing):
    return [name for name in failing if name.startswith("the lease of")]


def said(daemon, reason):
    """The edges of which an event with this reason tells."""
    events = [event for event in daemon.store.events() if event.reason == reason]
    return {event.message.partition(":")[0] for event in events}
