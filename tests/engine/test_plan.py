"""The plan is what the loop would do: the same observe and diff, and no write."""

from __future__ import annotations

import pytest

from reconciler.api.reasons import Reason
from reconciler.engine.errors import NotReadyYet, TerminalError
from reconciler.engine.external import Change, Impact, Policy

pytestmark = pytest.mark.looptime


async def planned(harness, *things, **rest):
    controller = harness.controller()
    controller.set_desired(things, [harness.state()], **rest)
    lines = await controller.plan()
    assert harness.cloud.writes() == []
    return [(line.key.name, line.action) for line in lines], lines


async def test_a_new_document_is_all_creations_in_order(harness):
    """Nothing exists: everything is created, references first, though nothing could be asked of
    what is to come.
    """
    harness.kind.reads["app"] = harness.key("env")
    shown, lines = await planned(
        harness,
        harness.thing("app", ("env",)),
        harness.thing("env", ("group",)),
        harness.thing("group"),
    )
    assert shown == [("group", "create"), ("env", "create"), ("app", "create")]
    assert all(not line.problem for line in lines)


async def test_each_action_is_named(harness):
    """What is right, differs, is at work, is only observed, or is refused, is told apart."""
    harness.cloud.objects = {
        "same": {"a": 1},
        "differs": {"a": 0},
        "busy": {"a": 0},
        "watched": {"a": 0},
    }
    harness.kind.busy.add("busy")
    names = ["same", "differs", "busy"]
    shown, lines = await planned(
        harness,
        *(harness.thing(name, a=1) for name in names),
        harness.thing("watched", a=1, policy=Policy.OBSERVE),
    )
    assert shown == [
        ("same", "no-op"),
        ("differs", "update"),
        ("busy", "wait"),
        ("watched", "no-op"),
    ]
    assert [str(change) for change in lines[1].changes] == ["a: 0 -> 1"]
    assert lines[3].changes


@pytest.mark.parametrize("policy", [Policy.OBSERVE, Policy.PAUSED])
async def test_what_is_only_observed_and_missing_is_told(harness, policy):
    """Also what stands on it and cannot be looked at without it; nothing of it is called created."""

    async def needs_the_group(_verb, name):
        if name == "app":
            raise NotReadyYet(Reason.WAITING_FOR_REFERENCE, "there is no group")

    harness.kind.before_call = needs_the_group
    _, lines = await planned(
        harness,
        harness.thing("group", a=1, policy=policy),
        harness.thing("app", ("group",), a=1, policy=policy),
    )
    assert all(line.missing for line in lines)
    action = "no-op" if policy is Policy.OBSERVE else "wait"
    assert {line.action for line in lines} == {action}
    assert all(line.problem for line in lines)


async def test_what_comes_after_the_first_write_is_part_of_the_effect(harness):
    """A service that stops only in a later step stops all the same, and the plan's words say it."""
    gap = Change("b", 1, 2, "no replica serves for about 60 s", Impact.RESTART)
    harness.cloud.objects = {"differs": {"a": 0}}
    harness.kind.observation["differs"] = {"later": (gap,)}
    _, (line,) = await planned(harness, harness.thing("differs", a=1))
    assert [change.path for change in line.changes] == ["a", "b"]
    assert line.effect == "no replica serves for about 60 s"


async def test_what_waits_behind_a_pause_is_named(harness):
    """A paused object that differs waits, with its changes and what ends the pause; one that is as
    asked is left out of it. What is held says why.
    """
    harness.cloud.objects = {"differs": {"a": 0}, "same": {"a": 1}, "held": {"a": 1}}
    harness.kind.observation["held"] = {"held": True, "message": "a person went back"}
    shown, lines = await planned(
        harness,
        *(harness.thing(n, a=1, policy=Policy.PAUSED) for n in ("differs", "same", "new")),
        harness.thing("held", a=1),
    )
    assert shown == [("differs", "wait"), ("same", "no-op"), ("new", "wait"), ("held", "no-op")]
    assert "`moorage resume phi` ends that" in lines[0].problem
    assert [str(change) for change in lines[0].changes] == ["a: 0 -> 1"]
    assert [line.effect for line in lines] == ["update", "", "create", "held"]
    assert lines[3].problem == "a person went back"


async def test_a_refusal_is_a_problem_of_its_line(harness):
    """An error of one object does not spoil the plan of the others."""
    harness.kind.errors["observe"] = [
        TerminalError(Reason.IMMUTABLE_FIELD, "location cannot change")
    ]
    shown, lines = await planned(harness, harness.thing("bad"), harness.thing("good"))
    assert shown == [("bad", "wait"), ("good", "create")]
    assert "location cannot change" in lines[0].problem


async def test_what_stands_on_a_refusal_waits_for_its_root(harness):
    """Nothing is written to an object while a reference cannot become ready, so the plan does not
    promise it: it names the object at the root.
    """
    harness.cloud.objects = {"differs": {"a": 0}, "same": {"a": 1}}
    harness.kind.errors["observe"] = [TerminalError(Reason.IMMUTABLE_FIELD, "no other name")]
    shown, lines = await planned(
        harness,
        harness.thing("group"),
        harness.thing("env", ("group",)),
        harness.thing("differs", ("env",), a=1),
        harness.thing("same", ("env",), a=1),
    )
    actions = dict(shown)
    assert actions == {"group": "wait", "env": "wait", "differs": "wait", "same": "no-op"}
    by_name = {line.key.name: line for line in lines}
    root = f"waits for {harness.key('group')}"
    assert [by_name[name].problem for name in ("env", "differs")] == [root, root]
    assert by_name["env"].effect == "create"


async def test_what_somebody_else_deleted_is_not_deleted_again(harness):
    """The plan looks, also at what no document asks for; what cannot be looked at stays in it."""
    things = [harness.thing(name) for name in ("gone", "there", "dark")]
    async with harness.running(*things) as controller:
        await controller.settled()
        controller.set_desired((), ())
        del harness.cloud.objects["gone"]

        async def refuse(verb, name):
            if (verb, name) == ("exists", "dark"):
                raise TerminalError(Reason.IMMUTABLE_FIELD, "no")

        harness.kind.before_call = refuse
        lines = {line.key.name: line for line in await controller.plan()}
    assert lines["dark"].action == "delete"
    assert (lines["gone"].action, lines["gone"].effect) == ("no-op", "gone already")
    assert lines["there"].action == "delete"


async def test_a_plan_of_some_keys_observes_their_references(harness):
    """Asked for one object, the plan looks at what it needs and shows the one."""
    harness.cloud.objects = {"env": {}}
    controller = harness.controller()
    controller.set_desired(
        [harness.thing("app", ("env",)), harness.thing("env"), harness.thing("other")],
        [harness.state()],
    )
    (line,) = await controller.plan([harness.key("app")])
    assert (line.key.name, line.action) == ("app", "create")
    assert harness.cloud.calls == [("observe", "env"), ("observe", "app")]
