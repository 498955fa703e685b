"""One service as a gateway sees it, with time that is faked."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from serving.catalogue import ReplicaReport
from serving.gateway.backend import LONGEST, RESTART, TRUST, Backend, Senses, UnavailableError
from serving.gateway.learning import LearnedStarts
from serving.gateway.line import WINDOW
from serving.gateway.routes import RoutedService, StartFault, StartPrediction

pytestmark = pytest.mark.looptime
SERVICE = RoutedService(name="phi", endpoint="x", models=(), predicted=StartPrediction(seconds=90))


def _report(**more):
    now = datetime.now(UTC)
    values = {"replica": "a", "revision": "r", "pid": 1, "started_at": now, "heartbeat": now}
    return ReplicaReport(**values | {"generation": 1, "model_loaded": True, "ready": True} | more)


class Told:
    """What the service and its reports say; None hangs."""

    def __init__(self, awake=None, reports=None):
        self.awake, self.reports, self.asked = awake, reports, 0

    async def ask(self, service):
        self.asked += 1
        return await self._say(self.awake)

    async def read(self, service):
        return await self._say(self.reports)

    async def _say(self, value):
        if value is None:
            await asyncio.Event().wait()
        return value

    def backend(self, most=10):
        return Backend(SERVICE, Senses(self.ask, self.read), LearnedStarts(), most)


def _nothing():
    pass


async def _admitted(backend, seconds=600):
    began = asyncio.get_running_loop().time()
    if turn := await backend.admitted(1, seconds, _nothing):
        turn.sent()
    return asyncio.get_running_loop().time() - began


async def test_a_share_that_hangs_keeps_no_answer_waiting():
    """The service's own answer counts although no report can be read."""
    assert await _admitted(Told(awake=True).backend()) < 1


async def test_a_ready_report_opens_the_line_while_the_ingress_hangs():
    """A replica that says it is ready need not wait until the pending request is answered."""
    assert await _admitted(Told(reports=(_report(),)).backend()) <= 2


async def test_after_a_failure_a_report_alone_proves_nothing():
    """A replica that reports ready and does not answer is asked until it does."""
    told = Told(awake=False, reports=(_report(),))
    backend = told.backend()
    backend.lost()
    waiting = asyncio.create_task(_admitted(backend))
    await asyncio.sleep(60)
    assert not waiting.done()
    assert 20 < told.asked <= 60
    told.awake = True
    assert await waiting < 65


async def test_a_start_that_takes_for_ever_ends():
    """After half an hour the service counts as one that cannot start, and the next caller wakes it
    again.
    """
    told = Told(awake=False, reports=())
    backend = told.backend()
    with pytest.raises(UnavailableError, match="phi did not start within 18"):
        await _admitted(backend, 2 * LONGEST)
    assert not backend.starting
    told.awake = True
    assert await _admitted(backend) < 1


async def test_many_callers_wake_once_and_the_wake_outlives_them():
    """A hundred callers of whom all but ten find no place, and all give up: one wake goes on."""
    told = Told()
    backend = told.backend()
    errors = await asyncio.gather(
        *(backend.admitted(n, 5, _nothing) for n in range(100)), return_exceptions=True
    )
    assert [error.kind for error in errors].count("full") == 90
    assert [error.kind for error in errors].count("starting") == 10
    assert all(error.left > 80 for error in errors)
    assert (told.asked, backend.starting, len(backend.line)) == (1, True, 0)
    await backend.close()


async def test_what_was_seen_is_not_believed_for_ever():
    """Half a minute after the last answer a service without reports is asked again."""
    told = Told(awake=True, reports=())
    backend = told.backend()
    await _admitted(backend)
    assert backend.up
    await asyncio.sleep(TRUST + 1)
    assert not backend.up
    assert backend.state().state == "asleep"
    await _admitted(backend)
    assert told.asked == 2


async def test_a_start_is_learned_and_told_to_who_woke():
    """What took time was a start: its seconds are learned, and its caller counts it."""
    told, woke = Told(awake=False, reports=()), []
    backend = told.backend()
    waiting = asyncio.create_task(backend.admitted(1, 600, lambda: woke.append(1)))
    await asyncio.sleep(180)
    told.awake = True
    await waiting
    assert woke == [1]
    assert 180 <= backend._starts.dump()[0].starts[0].seconds < 185
    assert backend.progress().left == pytest.approx(180, abs=5)


async def test_an_old_replica_says_how_long_a_start_still_takes():
    """A gateway that finds a start under way counts from the replica's own beginning."""
    began = datetime.now(UTC) - timedelta(seconds=60)
    told = Told(reports=(_report(ready=False, model_loaded=False, started_at=began),))
    backend = told.backend()
    backend.wake(_nothing)
    await asyncio.sleep(3)
    assert backend.progress().left == pytest.approx(30, abs=2)
    await backend.close()


async def test_a_start_that_nobody_asked_for_is_seen():
    """A replica that a rollout starts is no service that sleeps: its stage is told, and what is left
    of it.
    """
    began = datetime.now(UTC) - timedelta(seconds=60)
    report = _report(ready=False, model_loaded=False, stage="weights", started_at=began)
    told = Told(awake=False, reports=(report,))
    backend = told.backend()
    await backend.look()
    state = backend.state()
    assert (state.state, state.stage, backend.starting, told.asked) == (
        "starting",
        "weights",
        False,
        0,
    )
    told.reports = ()
    await backend.look()
    assert backend.state().state == "asleep"


STOPPED = SERVICE.model_copy(
    update={"stopped": StartFault(reason="RevisionFailed", message="it crashes")}
)


async def test_a_service_that_restarts_is_waited_for():
    """Azure calls its revision failed, but it answered a moment ago and does so again."""
    told = Told(awake=False, reports=())
    backend = told.backend()
    backend.answered()
    backend.lost()
    backend.follow(STOPPED, 10)
    asking = asyncio.create_task(_admitted(backend))
    await asyncio.sleep(20)
    assert not asking.done()
    told.awake = True
    assert await asking < 25


async def test_a_service_that_does_not_come_back_is_not_waited_for_long():
    """A minute after its last answer the cause is the answer, to all who wait."""
    told = Told(awake=False, reports=())
    backend = told.backend()
    backend.answered()
    backend.lost()
    backend.follow(STOPPED, 10)
    began = asyncio.get_running_loop().time()
    with pytest.raises(UnavailableError, match="it crashes"):
        await _admitted(backend)
    assert asyncio.get_running_loop().time() - began < RESTART + 5


async def test_a_line_stops_when_the_service_is_lost_again():
    """Requests of a herd that were not let on yet wait for another start when one that was let on
    did not reach the service.
    """
    told = Told(awake=True)
    backend = told.backend(40)
    asking = [asyncio.create_task(backend.admitted(n, 600, _nothing)) for n in range(40)]
    while not backend.line.moving:
        await asyncio.sleep(0)
    told.awake = False
    backend.lost()
    turns = await asyncio.gather(*asking[:WINDOW])
    for turn in turns:
        turn.sent()
    await asyncio.sleep(5)
    assert (len(backend.line), backend.starting) == (40 - WINDOW, True)
    told.awake = True
    for task in asking[WINDOW:]:
        (await task).sent()
    assert not backend.line.moving
