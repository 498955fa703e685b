"""Every error ends in one condition, one event and one way to come back."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.api.reasons import AzureCode, Reason
from reconciler.engine.document_state import DocumentRefusal
from reconciler.engine.errors import (
    Busy,
    DecidedElsewhere,
    NotOwned,
    NotReadyYet,
    RetryableError,
    SlowRetry,
    TerminalError,
    Throttled,
    TransportFailed,
    WaitingForHuman,
)
from reconciler.engine.external import DocumentRef
from reconciler.engine.record import Phase
from reconciler.engine.result import Pacing, outcome_of
from reconciler.engine.verdict import ExitClass

CASES = [
    (
        NotReadyYet(Reason.MISSING, "m", after=3.0),
        Phase.WAITING,
        3.0,
        False,
        "waiting is not failing and knows when to look again",
    ),
    (WaitingForHuman(Reason.MISSING, "m"), Phase.BLOCKED, 60.0, False, "a person is slow"),
    (
        TerminalError(Reason.MISSING, "m"),
        Phase.STALLED,
        None,
        False,
        "trying again would be the same",
    ),
    (
        NotOwned(Reason.MISSING, "m"),
        Phase.STALLED,
        None,
        False,
        "a stranger's object stays a stranger's",
    ),
    (Throttled(Reason.MISSING, "m", 17), Phase.RETRYING, 17.0, False, "the service said when"),
    (
        Throttled(Reason.MISSING, "m", None),
        Phase.RETRYING,
        None,
        True,
        "the service did not say when",
    ),
    (SlowRetry(Reason.MISSING, "m"), Phase.RETRYING, 60.0, False, "capacity comes back slowly"),
    (Busy(Reason.MISSING, "m"), Phase.WORKING, None, True, "somebody is at work, nothing failed"),
    (
        TransportFailed(Reason.MISSING, "m"),
        Phase.RETRYING,
        None,
        True,
        "the next try may get through",
    ),
    (RuntimeError("password=1"), Phase.RETRYING, None, True, "a bug must not stop the loop"),
]


@pytest.mark.parametrize(
    ("error", "phase", "after", "backoff", "reason"), CASES, ids=[case[4] for case in CASES]
)
def test_an_error_has_one_meaning(error, phase, after, backoff, reason):
    """The table of errors, and what each leads to."""
    outcome = outcome_of(error, Pacing())
    assert (outcome.phase, outcome.after, outcome.backoff) == (phase, after, backoff), reason
    assert "password" not in outcome.message


@pytest.mark.looptime
async def test_a_failing_key_backs_off_and_recovers(harness):
    """Failures of one key are tried again later and later, the resync does not cut that short, and
    one event tells of them.
    """
    harness.kind.errors["observe"] = [
        TransportFailed(Reason.AZURE_UNREACHABLE, "connection refused") for _ in range(9)
    ]
    async with harness.running(harness.thing("app", size=1)) as controller:
        await asyncio.sleep(50)
        assert 5 <= len(harness.cloud.calls) <= 9
        assert harness.condition(controller, "Synced") == ("False", "AzureUnreachable")
        assert await controller.settled() is ExitClass.DONE
        assert harness.reasons(controller).count("AzureUnreachable") == 1


@pytest.mark.looptime
async def test_a_throttled_write_waits_as_long_as_asked(harness):
    """Retry-After of a 429 is the time to the next try."""
    harness.kind.errors["create"] = [Throttled(Reason.THROTTLED, "slow down", 25.0)]
    loop = asyncio.get_running_loop()
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        assert 25 <= loop.time() < 26
        assert harness.cloud.writes() == ["create", "create"]


@pytest.mark.looptime
async def test_a_refused_write_is_not_tried_again_until_the_document_changes(harness):
    """A terminal error stalls the document; resyncs look but do not write for some minutes; an edit
    starts afresh.
    """
    harness.kind.errors["create"] = [TerminalError(AzureCode("RequestRefused"), "no such size")]
    async with harness.running(harness.thing("app", size=-1)) as controller:
        assert await controller.settled() is ExitClass.FAILED
        assert harness.condition(controller, "Stalled") == ("True", "Azure:RequestRefused")
        assert harness.condition(controller, "Synced") == ("False", "Azure:RequestRefused")
        await asyncio.sleep(200)
        assert harness.cloud.writes() == ["create"]
        assert harness.reasons(controller).count("Azure:RequestRefused") == 1
        controller.set_desired(
            [harness.thing("app", size=1, generation=2)], [harness.state(generation=2)]
        )
        assert await controller.settled() is ExitClass.DONE
        assert harness.condition(controller, "Stalled") == ("False", "NotStalled")


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("error", "seconds"), [(TerminalError, 300), (DecidedElsewhere, 60)], ids=str
)
async def test_a_refused_write_is_tried_again_slowly(harness, error, seconds):
    """Something outside the document may have been the cause, such as a name that was taken: without
    an edit the write is repeated after a while, and then all is well.
    """
    harness.kind.errors["create"] = [error(AzureCode("RequestRefused"), "the name is taken")]
    loop = asyncio.get_running_loop()
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        while len(harness.cloud.writes()) < 2:
            await asyncio.sleep(1)
        assert seconds <= loop.time() < seconds + 130
        assert await controller.settled() is ExitClass.DONE


@pytest.mark.looptime
async def test_a_refusal_found_by_looking_writes_nothing(harness):
    """A changed location is refused by `observe` itself, and no write is ever issued."""
    harness.cloud.objects["app"] = {"location": "west"}
    harness.kind.errors["observe"] = [
        TerminalError(Reason.IMMUTABLE_FIELD, "location cannot change")
    ] * 50
    async with harness.running(harness.thing("app", location="east")) as controller:
        assert await controller.settled() is ExitClass.FAILED
        await asyncio.sleep(300)
        assert harness.cloud.writes() == []
        assert harness.condition(controller, "Stalled") == ("True", "ImmutableField")


@pytest.mark.looptime
async def test_dependents_of_something_stalled_are_settled_as_failed(harness):
    """`up --once` does not wait for what can never come."""
    harness.kind.errors["create"] = [TerminalError(AzureCode("RequestRefused"), "no")]
    async with harness.running(
        harness.thing("app", ("env",), size=1), harness.thing("env", size=1)
    ) as controller:
        assert await controller.settled() is ExitClass.FAILED
        assert harness.cloud.writes("app") == []


@pytest.mark.looptime
async def test_a_person_is_waited_for_slowly(harness):
    """Missing quota is class 4 for one-shot commands, and goes on by itself once granted."""
    harness.kind.errors["create"] = [WaitingForHuman(AzureCode("QuotaExceeded"), "no GPU quota")]
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.WAITING_FOR_HUMAN
        await asyncio.sleep(61)
        assert await controller.settled() is ExitClass.DONE


@pytest.mark.looptime
async def test_a_refused_document_freezes_what_it_had(harness):
    """A document that asks for the impossible keeps its objects as they were; nothing is written
    and nothing is deleted.
    """
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        refusal = DocumentRefusal(Reason.ENVIRONMENT_IMMUTABLE, "an app cannot move")
        controller.set_desired([], [harness.state(generation=2, refusal=refusal)])
        await asyncio.sleep(120)
        assert harness.cloud.writes() == ["create"]
        assert harness.condition(controller, "Stalled") == ("True", "EnvironmentImmutable")
        assert harness.condition(controller, "Ready") == ("True", "AllGood")
        assert controller.converged() is ExitClass.FAILED
    async with harness.running(
        documents=(harness.state(generation=2, refusal=refusal),)
    ) as controller:
        await asyncio.sleep(120)
        assert harness.cloud.writes() == ["create"]
        assert harness.condition(controller, "Ready") == ("True", "AllGood")


@pytest.mark.looptime
async def test_a_document_whose_source_is_on_its_way_waits(harness):
    """It is out of sync, not stalled; one-shot commands wait for it, and what it had stays."""
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        refusal = DocumentRefusal(Reason.FETCHING, "hf://org/a@1 is being fetched", waits=True)
        controller.set_desired([], [harness.state(generation=2, refusal=refusal)])
        await asyncio.sleep(120)
        assert harness.condition(controller, "Synced") == ("False", "Fetching")
        assert harness.condition(controller, "Stalled") == ("False", "NotStalled")
        assert harness.condition(controller, "Ready") == ("True", "AllGood")
        assert controller.converged() is None
        desired = [harness.thing("app", size=1)]
        controller.set_desired(desired, [harness.state(generation=3)])
        assert await controller.settled() is ExitClass.DONE


@pytest.mark.looptime
async def test_an_unexpected_error_is_retried_and_its_text_stays_in_the_log(harness):
    """A bug in a kind neither stops the loop nor leaks into the status."""
    harness.kind.errors["observe"] = [KeyError("secret=abc")]
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.DONE
        event = controller.events()[0]
        assert event.reason == "InternalError"
        assert "abc" not in event.message


@pytest.mark.looptime
async def test_blindness_makes_ready_unknown(harness):
    """When nobody has been able to look for two minutes, Ready is no longer claimed."""
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        harness.kind.errors["observe"] = [
            TransportFailed(Reason.AZURE_UNREACHABLE, "down") for _ in range(50)
        ]
        await asyncio.sleep(100)
        assert harness.condition(controller, "Ready")[0] == "True"
        await asyncio.sleep(200)
        assert harness.condition(controller, "Ready") == ("Unknown", "NotObserved")


def told(controller):
    """How often throttling was told; an object that tells the same again has one event for it."""
    return sum(each.count for each in controller.events() if each.reason == Reason.THROTTLED)


@pytest.mark.looptime
async def test_throttling_is_told_once_an_episode(harness):
    """It is of the whole subscription: however many objects meet it, and however often it comes and
    goes within a minute, one event tells of it.
    """
    throttled = [Throttled(Reason.THROTTLED, "slow down", 5.0) for _ in range(12)]
    harness.kind.errors["create"] = throttled[:6]
    things = [harness.thing(f"t{number}", size=1) for number in range(3)]
    async with harness.running(*things) as controller:
        assert await controller.settled() is ExitClass.DONE
        assert told(controller) == 1
        await asyncio.sleep(120)
        harness.kind.errors["observe"] = throttled[6:]
        await asyncio.sleep(150)
        assert told(controller) == 2, "another episode"


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("reason", "seconds"), [(Reason.AWAITING_PROMOTION, 0), (Reason.REPLICAS_MISSING, 30)]
)
async def test_what_serves_and_waits_for_a_person_ends_a_command(harness, reason, seconds):
    """With 4: at once where only a person can go on, and after half a minute without replicas,
    because the GPU of one that ends may still count.
    """
    harness.cloud.objects["app"] = {"size": 1}
    harness.kind.observation["app"] = {
        "ready": False, "serves": True, "reason": reason, "poll_after": 1.0,
    }  # fmt: skip
    begun = asyncio.get_running_loop().time()
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.WAITING_FOR_HUMAN
        assert seconds <= asyncio.get_running_loop().time() - begun <= seconds + 5
        assert harness.condition(controller, "Progressing") == ("False", reason)
        assert harness.condition(controller, "Synced") == ("False", reason)


@pytest.mark.looptime
async def test_what_waits_for_something_that_a_person_must_mend_does_not_progress(harness):
    """Through any number of references: nobody is told that it is on its way. It goes on when the
    cause is gone.
    """
    other = DocumentRef("Home", "dev")
    denied = WaitingForHuman(Reason.SIGN_IN_FAILED, "no role")
    harness.kind.errors["create"] = [denied]
    home = harness.thing("home", document=other, size=1)
    middle = harness.thing("middle", ("home",), document=other, size=1)
    app = harness.thing("app", ("middle",), size=1)
    async with harness.running(home, middle, app) as controller:
        assert await controller.settled() is ExitClass.WAITING_FOR_HUMAN
        assert harness.condition(controller, "Progressing") == ("False", "WaitingForReference")
        told = controller.conditions(app.document).get("Synced").message
        assert told == "waits for Thing/home (SignInFailed)", "the cause, not the chain"
        await asyncio.sleep(150)
        assert await controller.settled() is ExitClass.DONE
        assert harness.condition(controller, "Progressing") == ("False", "InSync")


@pytest.mark.looptime
async def test_what_fails_has_what_it_stands_on_looked_at(harness):
    """A reference that has failed since its last look is put right within seconds, and not only at
    the next resync.
    """
    home, app = harness.thing("home", size=1), harness.thing("app", ("home",), size=1)
    async with harness.running(home) as controller:
        assert await controller.settled() is ExitClass.DONE
        harness.cloud.objects["home"] = {"size": 2}  # somebody else's work
        failed = RetryableError(AzureCode("ManagedEnvironmentNotProvisioned"), "it is Failed")
        harness.kind.errors["create"] = [failed]
        controller.set_desired([home, app], [harness.state()])
        await asyncio.sleep(15)  # far less than a resync
        assert harness.cloud.objects["home"] == {"size": 1}
        assert harness.cloud.objects["app"] == {"size": 1}
