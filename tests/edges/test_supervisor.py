"""Whatever fails in an edge costs that edge a pause, is told once, and is over when it works again."""

import asyncio
import errno

import pytest

from reconciler.api.conditions import ConditionType
from reconciler.api.reasons import Reason
from reconciler.edges.edge import Edge, forever
from reconciler.edges.report import EdgeReports
from reconciler.edges.supervisor import FIRST_PAUSE, INSIST, LONGEST_PAUSE, Supervisor
from reconciler.engine.controller import Controller
from reconciler.engine.document_state import DocumentState
from reconciler.engine.errors import RetryableError, Throttled
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import MEMORY, Store

PHI, WEB = DocumentRef("InferenceService", "phi"), DocumentRef("InferenceService", "web")
ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    RetryableError(Reason.AZURE_UNREACHABLE, "Azure does not answer"),
    ValueError("a secret"),
    ExceptionGroup("several", [KeyError("a secret")]),
    asyncio.CancelledError(),
]


class Scripted(Edge):
    """Fails as its script says, `wait` and `act` alike, and then works."""

    name = "scripted"

    def __init__(self, waits=(), acts=(), documents=(PHI,)):
        self.waits, self.acts, self.documents = list(waits), list(acts), documents
        self.acted = asyncio.Event()

    async def wait(self):
        if self.waits:
            raise self.waits.pop(0)
        if self.acted.is_set():
            await forever()

    async def act(self):
        if self.acts:
            raise self.acts.pop(0)
        self.acted.set()

    def concerns(self):
        return self.documents


class Told:
    """A controller with two documents, and all that was told of an edge."""

    def __init__(self):
        self.store = Store.open(MEMORY, "t")
        self.controller = Controller((), self.store)
        self.controller.set_desired((), [DocumentState(PHI), DocumentState(WEB)])
        self.reports = EdgeReports(self.controller, lambda event: self.store.add_event(event, 1.0))
        self.pauses = []
        self.watched = []

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.watched.append(self.condition(PHI))
        await asyncio.sleep(0)

    def condition(self, document):
        return self.controller.conditions(document).get(ConditionType.WATCHED)

    @property
    def events(self):
        return [e for e in self.store.events() if e.message.startswith("scripted")]


@pytest.mark.parametrize("where", ["waits", "acts"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_any_error_is_told_and_outlived(error, where):
    """A log line each time, one event and a condition; both are taken back at the end. The text of
    an error that is not ours is not repeated.
    """
    told, edge = Told(), Scripted(**{where: [error] * 3})
    async with Supervisor(told.reports, told.sleep) as supervisor:
        supervisor.start(edge)
        await asyncio.wait_for(edge.acted.wait(), 30)
        await asyncio.sleep(0)
    assert told.pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert told.watched[-1].status == "False"
    assert told.condition(PHI) is None
    assert [event.type for event in told.events] == ["Warning", "Normal"]
    assert "secret" not in told.events[0].message
    assert told.condition(WEB) is None


async def test_a_single_refusal_is_no_news():
    """Azure refuses a call now and then: what the next try mends is only logged."""
    told, edge = Told(), Scripted(acts=[ERRORS[1]])
    async with Supervisor(told.reports, told.sleep) as supervisor:
        supervisor.start(edge)
        await asyncio.wait_for(edge.acted.wait(), 30)
        await asyncio.sleep(0)
    assert (told.watched, told.events) == ([None], [])


async def test_an_edge_that_concerns_all_says_so_of_all():
    """Without a document of its own, every document's condition says it."""
    told, edge = Told(), Scripted(acts=[ValueError()], documents=None)

    async def sleep(_):
        assert told.condition(PHI).message == told.condition(WEB).message
        await forever()

    async with Supervisor(told.reports, sleep) as supervisor:
        supervisor.start(edge)
        while told.condition(WEB) is None:
            await asyncio.sleep(0)
    assert [str(event.document) for event in told.events] == ["Daemon/scripted"]


async def test_pauses_end_growing_and_azure_may_ask_for_longer_ones():
    """Up to half a minute; a `Retry-After` counts."""
    told = Told()
    edge = Scripted(acts=[*[ERRORS[0]] * 9, Throttled(Reason.THROTTLED, "slow down", 77.0)])
    async with Supervisor(told.reports, told.sleep) as supervisor:
        supervisor.start(edge)
        await asyncio.wait_for(edge.acted.wait(), 30)
    assert told.pauses[-2:] == [LONGEST_PAUSE, 77.0]


async def test_what_never_returns_works_once_it_has_lasted(monkeypatch):
    """The loop of the daemon, started again, must not be called broken for ever after."""
    monkeypatch.setattr("reconciler.edges.supervisor.LONGEST_PAUSE", 0.05)

    class Loop(Scripted):
        endless = True

        async def act(self):
            await super().act()
            await forever()

    told, edge = Told(), Loop(acts=[ValueError()])
    async with Supervisor(told.reports, told.sleep) as supervisor:
        supervisor.start(edge)
        await asyncio.wait_for(edge.acted.wait(), 30)
        assert told.condition(PHI).status == "False"
        while told.condition(PHI) is not None:
            await asyncio.sleep(0.01)
    assert [event.type for event in told.events] == ["Warning", "Normal"]


async def test_one_edge_that_fails_keeps_no_other_waiting():
    """Each has a task of its own; a report that fails harms neither."""

    class Broken:
        def failed(self, *_):
            raise RuntimeError("the store is gone")

        recovered = failed

    bad, good = Scripted(acts=[ValueError()] * 3), Scripted()
    async with Supervisor(Broken(), lambda _: asyncio.sleep(0)) as supervisor:
        supervisor.start(bad)
        supervisor.start(good)
        await asyncio.wait_for(good.acted.wait(), 30)
        await asyncio.wait_for(bad.acted.wait(), 30)


async def test_an_edge_that_loses_its_cancellation_is_cancelled_again():
    """The end must not wait for ever."""

    class Deaf(Scripted):
        async def wait(self):
            try:
                await forever()
            except asyncio.CancelledError:
                if self.waits.pop():
                    raise

    async with Supervisor(Told().reports) as supervisor:
        supervisor.start(Deaf(waits=[True, False]))
        await asyncio.sleep(0)


async def test_the_end_of_the_supervisor_ends_every_edge():
    """Also one that is in the middle of something, and one that pauses."""
    stuck = Scripted(waits=[ValueError()])
    async with Supervisor(Told().reports, lambda _: forever()) as supervisor:
        supervisor.start(stuck)
        await asyncio.sleep(0)
    assert not stuck.acted.is_set()


async def test_an_edge_whose_cancellation_is_lost_ends_at_once():
    """A watched folder stops by itself at the same time, and its end hides the cancellation."""

    class Stopping(Scripted):
        async def wait(self):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                await forever()

    edge, began = Stopping(), asyncio.get_running_loop().time()
    async with Supervisor(Told().reports) as supervisor:
        supervisor.start(edge)
        await asyncio.sleep(0)
    assert asyncio.get_running_loop().time() - began < INSIST / 2
