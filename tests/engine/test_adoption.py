"""What was there before any document is told as such, released instead of deleted, and keeps what
it stands on.
"""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.external import Change, DocumentRef, Gone, Identity, Origin
from reconciler.engine.result import Pacing
from reconciler.engine.verdict import ExitClass

pytestmark = pytest.mark.looptime

ENV = DocumentRef("Environment", "dev")
PROMPT = Pacing(grace=0)


def family(harness):
    """A service's app on an environment's share and group, and a link that no app uses."""
    return (
        harness.thing("group", document=ENV),
        harness.thing("share", ("group",), document=ENV),
        harness.thing("link", ("group",), document=ENV),
        harness.thing("app", ("share",)),
    )


def documents(harness, *, prune=False):
    return harness.state(ENV, scope="dev", prune=prune), harness.state(scope="dev", prune=prune)


async def adopted(harness):
    """The app is there, and taken over."""
    harness.cloud.objects["app"] = {}
    harness.kind.observation["app"] = {"origin": Origin.ADOPTED}
    async with harness.running(*family(harness), documents=documents(harness)) as controller:
        assert await controller.settled() is ExitClass.DONE
    harness.cloud.calls.clear()


async def test_a_plan_says_that_it_is_taken_over(harness):
    """Not an update: `adopt`, with what the next write settles and what later ones do."""
    now, later = Change("mark", None, "ours"), Change("template", "a", "b")
    harness.cloud.objects["app"] = {}
    harness.kind.observation["app"] = {
        "origin": Origin.FOREIGN,
        "changes": (now,),
        "later": (later,),
    }
    controller = harness.controller()
    controller.set_desired([harness.thing("app")], [harness.state()])
    (line,) = await controller.plan()
    assert (line.action, line.changes) == ("adopt", (now, later))
    assert harness.cloud.writes() == []


async def test_a_plan_says_once_what_the_documents_use_of_others(harness):
    """A group of somebody else is `used` as it is, or adopted where the documents change it; after
    the first look it is as any other.
    """
    for name, changes in (("group", ()), ("tagged", (Change("tags.a", None, "b"),))):
        harness.cloud.objects[name] = {}
        harness.kind.observation[name] = {"origin": Origin.ADOPTED, "changes": changes}
    controller = harness.controller()
    things = [harness.thing("group"), harness.thing("tagged")]
    controller.set_desired(things, [harness.state()])
    lines = await controller.plan()
    assert [(line.action, line.used) for line in lines] == [("no-op", True), ("adopt", False)]
    assert "it was there before any document asked for it" in lines[1].effect
    harness.kind.observation["tagged"] = {"origin": Origin.ADOPTED}
    async with harness.running(*things) as running:
        assert await running.settled() is ExitClass.DONE
        assert [(line.action, line.used) for line in await running.plan()] == [("no-op", False)] * 2


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("polls", [0, 2])
async def test_down_releases_it_and_leaves_what_it_stands_on(harness, purge, polls):
    """The rest goes; a purge takes no more than that, nor does a second one, by this process or the
    next.
    """
    await adopted(harness)
    harness.kind.polls = polls
    async with harness.running(
        *family(harness), documents=documents(harness), pacing=PROMPT
    ) as controller:
        await controller.settled()
        harness.cloud.calls.clear()
        for expected in [("app", "release"), ("link", "delete")], []:
            controller.set_desired([], [], purge=purge)
            assert await promised(controller) == expected
            harness.approve_all(controller)
            began = asyncio.get_running_loop().time()
            assert await controller.settled() is ExitClass.DONE
            # What waits for the release is woken by it, and not by the next resync.
            assert asyncio.get_running_loop().time() - began < 20
            await asyncio.sleep(1)
        kept = {
            event.message
            for event in controller.events()
            if event.reason in ("Released", "Retained")
        }
    assert "Thing/app is released: it was there before any document and stays" in kept
    assert any(
        "Thing/share; it is left in place (Thing/app was there before" in message
        for message in kept
    )
    controller = harness.controller()
    controller.set_desired([], [], purge=purge)
    assert await promised(controller) == []
    assert sorted(name for verb, name in harness.cloud.calls if verb == "delete") == ["app", "link"]
    assert {"group", "share"} <= harness.cloud.objects.keys()


async def promised(controller):
    return [
        (line.key.name, line.action) for line in await controller.plan() if line.action != "no-op"
    ]


async def test_a_document_that_goes_asks_and_releases(harness):
    """As for a deletion: after the grace a person is asked, in other words, and prune answers for
    them.
    """
    await adopted(harness)
    things = family(harness)
    async with harness.running(*things, documents=documents(harness)) as controller:
        await controller.settled()
        controller.set_desired(things[:3], documents(harness)[:1])
        await asyncio.sleep(60)
        assert (
            "would release Thing/app;" in controller.conditions(harness.DOC).get("Synced").message
        )
        controller.set_desired(things[:3], documents(harness, prune=True)[:1])
        assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.writes() == ["delete"]
        assert harness.reasons(controller)[-2:] == ["Released", "Deleted"]
        assert harness.DOC not in [state.ref for state in controller.documents()]


async def test_it_can_be_taken_over_again(harness):
    """The document comes back after a release: an ordinary object once more."""
    await adopted(harness)
    things = family(harness)
    async with harness.running(
        *things, documents=documents(harness, prune=True), pacing=PROMPT
    ) as controller:
        await controller.settled()
        controller.set_desired(things[:3], documents(harness, prune=True)[:1])
        await controller.settled()
        controller.set_desired(things, documents(harness, prune=True))
        assert await controller.settled() is ExitClass.DONE
        assert harness.condition(controller, "Ready") == ("True", "AllGood")


async def test_the_inventory_knows_it_when_memory_is_lost(harness):
    """An orphan that carries the mark is released like one that is remembered."""
    harness.cloud.objects = {"app": {}, "group": {}}
    group, _, _, app = family(harness)
    identity = Identity(app.key, "/things/app", origin=Origin.ADOPTED)
    app = Gone(identity, app.document, (group.key,))
    async with harness.running(pacing=PROMPT) as controller:
        controller.set_desired([], [])
        controller.set_orphans([app, group])
        lines = [(line.key.name, line.action) for line in await controller.plan()]
        assert lines == [("app", "release"), ("group", "no-op")]
        harness.approve_all(controller)
        assert await controller.settled() is ExitClass.DONE
        await asyncio.sleep(1)
        assert harness.cloud.writes() == ["delete"]


async def test_what_was_never_taken_over_is_not_released(harness):
    """The document went before anything was written: nobody is asked, nothing is said."""
    harness.cloud.objects["app"] = {}
    harness.kind.observation["app"] = {"origin": Origin.FOREIGN, "busy": True}
    async with harness.running(harness.thing("app"), pacing=PROMPT) as controller:
        await asyncio.sleep(5)
        controller.set_desired([], [])
        assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.writes() == []
