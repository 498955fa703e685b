"""Killing the daemon at any instant and starting it again leads to the same end, with nothing done
twice.
"""

from __future__ import annotations

import asyncio

import pytest

from reconciler.api.reasons import AzureCode, Reason
from reconciler.engine.errors import TerminalError, TransportFailed
from reconciler.engine.store import MEMORY, Store
from reconciler.engine.verdict import ExitClass

pytestmark = pytest.mark.looptime


async def test_an_operation_is_polled_and_not_repeated(harness):
    """A long-running creation is one write and as many polls as it takes, at the pace the service
    asks for.
    """
    harness.kind.polls = 5
    async with harness.running(harness.thing("app", size=1)) as controller:
        await asyncio.sleep(2)
        assert harness.condition(controller, "Synced") == ("False", "Creating")
        assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.writes() == ["create"]
        assert harness.cloud.calls.count(("poll", "app")) == 6


async def test_a_restarted_daemon_resumes_the_operation(harness):
    """The token outlives the daemon: the next one polls it and creates nothing again."""
    harness.kind.polls = 10
    async with harness.running(harness.thing("app", size=1)):
        await asyncio.sleep(3)
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.DONE
    assert harness.cloud.writes() == ["create"]


async def test_an_operation_that_fails_speaks_for_itself(harness):
    """The service's own words about a failed operation become the condition, and the write is not
    repeated.
    """
    harness.kind.polls, harness.kind.sticks = 2, False
    harness.kind.operation_error = TerminalError(AzureCode("InvalidSku"), "no such size")
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.FAILED
        assert harness.condition(controller, "Stalled") == ("True", "Azure:InvalidSku")
        await asyncio.sleep(200)
        assert harness.cloud.writes() == ["create"]


async def test_a_poll_that_does_not_get_through_keeps_the_token(harness):
    """A lost connection while polling is not a failed operation."""
    harness.kind.polls = 2
    harness.kind.errors["poll"] = [TransportFailed(Reason.AZURE_UNREACHABLE, "reset")]
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.writes() == ["create"]


async def test_a_token_nobody_knows_is_dropped(harness):
    """When the service no longer knows an operation, the object itself tells how it ended."""
    harness.kind.polls = 2
    harness.kind.errors["poll"] = [TerminalError(AzureCode("OperationNotFound"), "gone")]
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.writes() == ["create", "create"]


async def test_an_edit_during_an_operation_waits_for_its_end(harness):
    """Nothing is written while an operation runs; the newest version is written after it."""
    harness.kind.polls = 5
    async with harness.running(harness.thing("app", size=1)) as controller:
        await asyncio.sleep(2)
        controller.set_desired(
            [harness.thing("app", size=2, generation=2)], [harness.state(generation=2)]
        )
        await asyncio.sleep(1)
        assert harness.cloud.writes() == ["create"]
        await controller.settled()
        assert harness.cloud.writes() == ["create", "update"]
        assert harness.cloud.objects["app"]["size"] == 2


@pytest.mark.parametrize("lose_memory", [False, True])
@pytest.mark.parametrize("calls", range(1, 16))
async def test_killed_at_any_call_the_end_is_the_same(harness, calls, lose_memory):
    """Wherever the daemon dies, with or without its memory, the next one finishes and creates
    nothing that exists.
    """
    things = (
        harness.thing("app", ("env",), size=1),
        harness.thing("env", ("group",), size=1),
        harness.thing("group", size=1),
    )
    harness.kind.polls = 1
    dead = asyncio.Event()

    async def die(_verb, _name):
        if len(harness.cloud.calls) >= calls:
            dead.set()
            await asyncio.sleep(1000)

    harness.kind.before_call = die
    async with harness.running(*things) as controller:
        ends = [asyncio.create_task(dead.wait()), asyncio.create_task(controller.settled())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
    harness.kind.before_call = None
    if lose_memory:
        harness.store = Store.open(MEMORY, "test")
        for name in list(harness.cloud.operations):
            harness.cloud.operations[name][1]()  # Azure finishes what it was asked, whoever watches
    async with harness.running(*things) as controller:
        assert await controller.settled() is ExitClass.DONE
        assert harness.condition(controller, "Ready") == ("True", "AllGood")
    assert set(harness.cloud.objects) == {"app", "env", "group"}
    # A call that was killed under way may have to be made once more; nothing else is.
    assert len(harness.cloud.writes()) <= 4


async def test_status_is_kept_over_a_restart(harness):
    """After a restart the last observed conditions stand, with their times, until somebody has
    looked again.
    """
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        before = controller.conditions(harness.DOC).get("Ready")
        await asyncio.sleep(10)
    controller = harness.controller()
    assert controller.conditions(harness.DOC).get("Ready") == before
    controller.set_desired([harness.thing("app", size=1)], [harness.state()])
    assert controller.conditions(harness.DOC).get("Ready") == before
    assert controller.converged() is None
