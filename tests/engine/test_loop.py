"""Creating, waiting, correcting: the loop over a scripted kind in virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import AzureCode, Reason
from reconciler.engine.controller import RESERVED
from reconciler.engine.errors import NotReadyYet, RetryableError
from reconciler.engine.external import Mark, Policy
from reconciler.engine.verdict import ExitClass

pytestmark = pytest.mark.looptime


async def test_objects_are_created_references_first(harness):
    """Three objects in a row are created in the order of their references and the document ends
    Ready and Synced.
    """
    things = (
        harness.thing("app", ("env",), size=1),
        harness.thing("env", ("group",), size=1),
        harness.thing("group", size=1),
    )
    async with harness.running(*things) as controller:
        assert await controller.settled() is ExitClass.DONE
        assert [name for verb, name in harness.cloud.calls if verb == "create"] == [
            "group",
            "env",
            "app",
        ]
        assert harness.condition(controller, "Ready") == ("True", "AllGood")
        assert harness.condition(controller, "Synced") == ("True", "InSync")
        assert harness.condition(controller, "Stalled") == ("False", "NotStalled")


async def test_a_dependent_starts_at_once_when_its_reference_is_ready(harness):
    """A reference that becomes ready wakes what waits for it, without waiting for the
    next resync.
    """
    harness.kind.unready.add("env")
    async with harness.running(
        harness.thing("app", ("env",), size=1), harness.thing("env", size=1)
    ) as controller:
        await asyncio.sleep(5)
        assert harness.cloud.writes("app") == []
        assert harness.condition(controller, "Synced") == ("False", "WaitingForReference")
        assert ("observe", "app") not in harness.cloud.calls
        harness.kind.unready.clear()
        controller.trigger([harness.key("env")])
        async with asyncio.timeout(1):
            assert await controller.settled() is ExitClass.DONE


@pytest.mark.parametrize(("told", "wait"), [(7.0, 7.0), (0.05, 0.35), (None, 0.5)])
async def test_an_operation_is_first_polled_when_the_writes_answer_says(harness, told, wait):
    """A create, an update and a delete are each followed by a poll after the time that the service
    asked to wait, though not sooner than any operation ends, and after half a second when it named
    none.
    """
    loop, calls = asyncio.get_running_loop(), []

    async def note(verb, name):
        if verb not in ("observe", "exists"):
            calls.append((verb, round(loop.time(), 2)))

    harness.kind.before_call = note
    harness.kind.polls, harness.kind.retry_after = 1, told
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        controller.set_desired([harness.thing("app", size=2)], [harness.state(generation=2)])
        await controller.settled()
        controller.set_desired([], [])
        harness.approve_all(controller)
        await controller.settled()
    first = [
        (verb, round(then - at, 2))
        for (verb, at), (after, then) in pairwise(calls)
        if verb != "poll" and after == "poll"
    ]
    assert first == [("create", wait), ("update", wait), ("delete", wait)]


async def test_nothing_is_written_twice(harness):
    """Once all is as desired, resyncs observe and write nothing, in this life and in the next."""
    for _ in range(2):
        async with harness.running(
            harness.thing("app", ("env",), size=1), harness.thing("env", size=1)
        ) as controller:
            await controller.settled()
            await asyncio.sleep(200)
    assert harness.cloud.writes() == ["create", "create"]
    assert harness.cloud.calls.count(("observe", "app")) > 5


async def test_other_facts_of_a_reference_are_not_drift(harness):
    """A difference that follows from what a reference now says is an update, not drift."""
    harness.kind.observation["env"] = {"outputs": {"id": 1}}
    async with harness.running(
        harness.thing("app", ("env",), size=1), harness.thing("env", size=1)
    ) as controller:
        await controller.settled()
        harness.kind.observation["env"] = {"outputs": {"id": 2}}
        harness.cloud.objects["app"]["size"] = 0
        controller.trigger([harness.key("env")])
        await asyncio.sleep(5)
        assert harness.cloud.writes("app") == ["create", "update"]
        assert "DriftFound" not in harness.reasons(controller)


async def test_a_difference_that_survives_three_writes_does_not_converge(harness):
    """After three writes without effect the loop says so and goes on slowly instead of writing in
    circles.
    """
    harness.cloud.objects["app"] = {"size": 0}
    harness.kind.sticks = False
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.FAILED
        assert harness.cloud.writes() == ["update"] * 3
        assert harness.condition(controller, "Synced") == ("False", "DoesNotConverge")
        await asyncio.sleep(280)
        assert harness.cloud.writes() == ["update"] * 3
        await asyncio.sleep(60)
        assert harness.cloud.writes() == ["update"] * 4
        assert harness.condition(controller, "Synced") == ("False", "DoesNotConverge")
        harness.kind.sticks = True
        await asyncio.sleep(310)
        assert await controller.settled() is ExitClass.DONE
        assert harness.reasons(controller).count("DoesNotConverge") == 1


async def test_what_azure_says_is_told_even_after_three_failed_operations(harness):
    """Its code and its words stay in the condition and arrive in an event, also between the tries
    and after a restart; `DoesNotConverge` would only guess.
    """
    words = "Invalid value: image registry/none:1 was not found"
    harness.kind.polls, harness.kind.sticks = 1, False
    harness.kind.operation_error = RetryableError(AzureCode("ContainerAppOperationError"), words)
    for _ in range(2):
        async with harness.running(harness.thing("app", size=1)) as controller:
            assert await controller.settled() is ExitClass.FAILED
            synced = harness.condition(controller, "Synced")
            assert synced == ("False", "Azure:ContainerAppOperationError")
            message = controller.conditions(harness.DOC).get("Synced").message
            assert message.startswith(words)
            assert "after 3 tries; tried again every 300 s" in message
            assert harness.cloud.writes() == ["create"] * 3
            told = [each.message for each in controller.events() if each.type == "Warning"]
            assert any(words in each for each in told)
            assert "DoesNotConverge" not in harness.reasons(controller)
    harness.kind.operation_error, harness.kind.sticks = None, True
    async with harness.running(harness.thing("app", size=1)) as controller:
        await asyncio.sleep(310)
        assert await controller.settled() is ExitClass.DONE
        assert harness.condition(controller, "Synced") == ("True", "InSync")


async def test_an_edit_while_a_key_is_held_runs_again(harness):
    """A save that arrives while the object is being written is not lost, and no second worker takes
    the key.
    """
    changed = asyncio.Event()

    async def meanwhile(verb, name):
        if verb == "create" and not changed.is_set():
            changed.set()
            controller.set_desired([harness.thing("app", size=2)], [harness.state(generation=2)])
            await asyncio.sleep(1)

    harness.kind.before_call = meanwhile
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        assert harness.cloud.objects["app"]["size"] == 2


async def test_nothing_is_written_while_an_operation_runs_on_the_object(harness):
    """A busy object is left alone until it is not, however much differs."""
    harness.cloud.objects["app"] = {"size": 0}
    harness.kind.busy.add("app")
    async with harness.running(harness.thing("app", size=1)) as controller:
        await asyncio.sleep(30)
        assert harness.cloud.writes() == []
        assert harness.condition(controller, "Synced") == ("False", "OperationInProgress")
        harness.kind.busy.clear()
        await controller.settled()
        assert harness.cloud.writes() == ["update"]


async def test_skip_does_not_even_look(harness):
    """Under reconcilePolicy Skip the kind is never called."""
    async with harness.running(harness.thing("app", size=1, policy=Policy.SKIP)) as controller:
        assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.calls == []
        assert harness.condition(controller, "Ready") == ("Unknown", "Skipped")


async def test_no_write_is_issued_without_the_lease(harness):
    """A daemon that is not the leader observes, says so, and writes as soon as it leads."""
    leading, other = [], NotReadyYet(Reason.NOT_LEADER, "the daemon on host b holds the lease", 5.0)
    async with harness.running(
        harness.thing("app", size=1), why_not=lambda _: None if leading else other
    ) as controller:
        await asyncio.sleep(20)
        assert harness.cloud.writes() == []
        assert harness.condition(controller, "Synced") == ("False", "NotLeader")
        assert "host b" in controller.conditions(harness.DOC).get("Synced").message
        leading.append(1)
        await controller.settled()
        assert harness.cloud.writes() == ["create"]


async def test_a_kinds_marks_become_conditions_and_the_worst_counts(harness):
    """Where two objects speak of the same condition the worse one is shown; a condition nobody
    speaks of goes.
    """
    harness.kind.observation = {
        "a": {"marks": (Mark(ConditionType.PUBLISHED, Status.TRUE, Reason.PUBLISHED),)},
        "b": {
            "marks": (
                Mark(ConditionType.PUBLISHED, Status.FALSE, Reason.PUBLISHING, "3 of 9 files"),
            ),
            "ready": False,
        },
    }
    async with harness.running(harness.thing("a"), harness.thing("b")) as controller:
        await asyncio.sleep(2)
        assert harness.condition(controller, "Published") == ("False", "Publishing")
        assert harness.condition(controller, "Ready") == ("False", "Progressing")
        harness.kind.observation = {"b": {"reason": "ScaledToZero"}}
        await controller.settled()
        controller.trigger()
        await asyncio.sleep(1)
        assert controller.conditions(harness.DOC).get("Published") is None
        assert harness.condition(controller, "Ready") == ("True", "ScaledToZero")


async def test_a_new_part_on_its_way_takes_nothing_from_ready(harness):
    """While a new adapter is published the service that will load it stays Ready, for it still
    serves.
    """
    async with harness.running(
        harness.thing("app", ("one",), size=1), harness.thing("one", size=1)
    ) as controller:
        await controller.settled()
        harness.kind.polls = 20
        things = (
            harness.thing("app", ("one", "two"), size=1),
            harness.thing("one", size=1),
            harness.thing("two", size=1),
        )
        controller.set_desired(things, [harness.state(generation=2)])
        await asyncio.sleep(3)
        assert harness.condition(controller, "Synced")[0] == "False"
        assert harness.condition(controller, "Ready") == ("True", "AllGood")
        await controller.settled()
        assert harness.condition(controller, "Synced")[0] == "True"


async def test_who_reads_anothers_outputs_is_woken_when_they_change(harness):
    """An object that read what was last seen of another, without referring to it, looks again when
    that changes.
    """
    harness.kind.reads["catalogue"] = harness.key("app")
    async with harness.running(
        harness.thing("app", ("catalogue",), size=1), harness.thing("catalogue", size=1)
    ) as controller:
        await controller.settled()
        await asyncio.sleep(2)
        looks = harness.cloud.calls.count(("observe", "catalogue"))
        harness.kind.observation["app"] = {"outputs": {"keys": ["a"]}}
        controller.trigger([harness.key("app")])
        await asyncio.sleep(2)
        assert harness.cloud.calls.count(("observe", "catalogue")) > looks
        catalogue = next(
            record for record in controller.records() if record.key.name == "catalogue"
        )
        assert catalogue.outputs["seen-keys"] == ["a"]


async def test_a_kind_may_ask_to_be_looked_at_again(harness):
    """`poll_after` brings a ready object back sooner than the resync."""
    harness.kind.observation["app"] = {"poll_after": 10.0}
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        await asyncio.sleep(45)
        assert 5 <= harness.cloud.calls.count(("observe", "app")) <= 7


async def test_stop_lets_the_pass_under_way_finish(harness):
    """A drained daemon finishes the write it has begun and begins no other."""

    async def slowly(_verb, _name):
        await asyncio.sleep(3)

    harness.kind.before_call = slowly
    controller, workers = harness.controller(workers=1), 1 + RESERVED
    things = [harness.thing(f"thing-{number}", size=1) for number in range(workers + 3)]
    controller.set_desired(things, [harness.state()])
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(4)
    await controller.stop()
    await task
    assert len(harness.cloud.calls) == 2 * workers


@pytest.mark.parametrize("reason", ["RolledBack", "Promoted"])
async def test_what_is_held_against_the_document_serves_and_is_not_in_sync(harness, reason):
    """Ready, for it serves; Synced is False with the reason and its sentence; a one-shot run ends
    with 4; dependents go on.
    """
    held = {"held": True, "reason": reason, "message": "write source: ./two"}
    harness.kind.observation["catalogue"] = held
    async with harness.running(
        harness.thing("app", ("catalogue",), size=1), harness.thing("catalogue", size=1)
    ) as controller:
        assert await controller.settled() is ExitClass.WAITING_FOR_HUMAN
        assert harness.condition(controller, "Ready") == ("True", "AllGood")
        assert harness.condition(controller, "Synced") == ("False", reason)
        assert harness.cloud.writes("app") == ["create"]
        harness.kind.observation.clear()
        await asyncio.sleep(70)
        assert harness.condition(controller, "Synced") == ("True", "InSync")
        assert await controller.settled() is ExitClass.DONE


async def test_what_is_unfinished_serves_and_nothing_is_done_before_it_is_finished(harness):
    """Its dependents go on and Ready is True; Synced is False, Progressing is True, and a one-shot
    run waits.
    """
    part = {"unfinished": True, "reason": "Progressing", "message": "waits for the keys ci"}
    harness.kind.observation["catalogue"] = part
    async with harness.running(
        harness.thing("app", ("catalogue",), size=1), harness.thing("catalogue", size=1)
    ) as controller:
        done = asyncio.create_task(controller.settled())
        await asyncio.sleep(30)
        assert not done.done()
        assert harness.cloud.writes("app") == ["create"]
        assert harness.condition(controller, "Ready") == ("True", "AllGood")
        assert harness.condition(controller, "Synced") == ("False", "Progressing")
        assert harness.condition(controller, "Progressing") == ("True", "Progressing")
        harness.kind.observation.clear()
        await asyncio.sleep(70)
        assert harness.condition(controller, "Synced") == ("True", "InSync")
        assert await done is ExitClass.DONE


async def test_nothing_is_done_while_what_builds_on_new_facts_has_not_been_looked_at(harness):
    """An object that other facts are news to may not have followed them: no moment between the two
    looks says Synced.
    """
    catalogue, app = (
        harness.thing("catalogue", size=1),
        harness.thing("app", ("catalogue",), size=1),
    )
    harness.kind.reads["app"] = harness.key("catalogue")
    async with harness.running(catalogue, app) as controller:
        await controller.settled()
        said = []

        async def before_call(verb, name):
            if name == "app":
                said.append(harness.condition(controller, "Synced")[0])

        harness.kind.before_call = before_call
        harness.cloud.objects["catalogue"]["outputs"] = {"generation": 2}
        controller.trigger([harness.key("catalogue")])
        await asyncio.sleep(5)
        assert await controller.settled() is ExitClass.DONE
        assert said[0] == "False"
        assert harness.condition(controller, "Synced")[0] == "True"
