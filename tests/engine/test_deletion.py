"""What no document wants any more goes slowly, with permission, dependents first, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.api.reasons import Reason
from reconciler.engine.errors import NotReadyYet, TransportFailed
from reconciler.engine.external import DocumentRef, Gone, Identity, Policy
from reconciler.engine.result import Pacing
from reconciler.engine.rules import Rules
from reconciler.engine.verdict import ExitClass

pytestmark = pytest.mark.looptime

ENV = DocumentRef("Environment", "dev")


def family(harness, **rest):
    """A service's app on an environment's share and group."""
    return (
        harness.thing("group", document=ENV, **rest),
        harness.thing("share", ("group",), document=ENV, **rest),
        harness.thing("app", ("share",), **rest),
    )


def documents(harness, *, prune=False):
    return harness.state(ENV, scope="dev", prune=prune), harness.state(scope="dev", prune=prune)


async def test_without_permission_nothing_goes(harness):
    """A deleted document waits for a person, says what would be deleted, and an approval lets
    exactly that go.
    """
    things, both = family(harness), documents(harness)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things[:2], both[:1])
        await asyncio.sleep(300)
        assert "delete" not in harness.cloud.writes()
        assert harness.condition(controller, "Synced") == ("False", "AwaitingApproval")
        assert "Thing/app" in controller.conditions(harness.DOC).get("Synced").message
        assert controller.converged() is ExitClass.WAITING_FOR_HUMAN
        assert controller.approvable() == (harness.key("app"),)
        assert controller.approve(ENV) == ()
        assert controller.approve(harness.DOC) == (harness.key("app"),)
        assert await controller.settled() is ExitClass.DONE
        assert list(harness.cloud.objects) == ["group", "share"]
        assert harness.DOC not in [state.ref for state in controller.documents()]
        assert harness.reasons(controller)[-2:] == ["Deleted", "Deleted"]
        assert harness.store.documents()[0].ref == ENV


async def test_nobody_is_asked_about_what_is_gone(harness):
    """When somebody deletes by hand what waits for approval, the question goes away."""
    things, both = family(harness), documents(harness)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things[:2], both[:1])
        await asyncio.sleep(60)
        del harness.cloud.objects["app"]
        await asyncio.sleep(70)
        assert controller.converged() is ExitClass.DONE
        assert "delete" not in harness.cloud.writes()


async def test_prune_deletes_after_the_grace_period(harness):
    """With prune: true a document that stays missing for 30 s goes by itself, not sooner."""
    things, both = family(harness), documents(harness, prune=True)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things[:2], both[:1])
        await asyncio.sleep(29)
        assert "delete" not in harness.cloud.writes()
        await asyncio.sleep(2)
        assert harness.cloud.writes("app") == ["create", "delete"]


async def test_prune_set_after_the_deletion_counts(harness):
    """Turning prune on in the Environment releases what was deleted before."""
    things, both = family(harness), documents(harness)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things[:2], both[:1])
        await asyncio.sleep(60)
        controller.set_desired(things[:2], documents(harness, prune=True)[:1])
        await asyncio.sleep(70)
        assert list(harness.cloud.objects) == ["group", "share"]


async def test_a_document_that_comes_back_is_kept(harness):
    """A file saved by an editor that deletes and writes again costs nothing."""
    things, both = family(harness), documents(harness, prune=True)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things[:2], both[:1])
        await asyncio.sleep(20)
        controller.set_desired(things, both)
        await asyncio.sleep(100)
        assert harness.cloud.writes() == ["create"] * 3
        assert harness.condition(controller, "Synced") == ("True", "InSync")


async def test_dependents_go_first(harness):
    """All documents approved at once are deleted in the order of their references, operations
    included.
    """
    things, both = family(harness), documents(harness)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        harness.kind.polls = 2
        controller.set_desired([], [])
        assert set(harness.approve_all(controller)) == {thing.key for thing in things}
        assert await controller.settled() is ExitClass.DONE
        deleted = [name for verb, name in harness.cloud.calls if verb == "delete"]
        assert deleted == ["app", "share", "group"]
        assert harness.cloud.objects == {}
        assert harness.store.objects() == ()
        assert harness.store.documents() == ()


async def test_something_still_used_is_not_deleted(harness):
    """An object that another document's object needs stays until that one is gone,
    approval or not.
    """
    things, both = family(harness), documents(harness)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things[2:], both[1:])
        controller.approve(ENV)
        await asyncio.sleep(200)
        assert "delete" not in harness.cloud.writes()


async def test_data_is_retained_and_keeps_what_it_lives_in(harness):
    """A retained share is left in place, and so is the group around it; the rest goes."""
    group, _, app = family(harness)
    share = harness.thing("share", ("group",), document=ENV, retain=True)
    async with harness.running(group, share, app, documents=documents(harness)) as controller:
        await controller.settled()
        controller.set_desired([], [])
        harness.approve_all(controller)
        assert await controller.settled() is ExitClass.DONE
        assert list(harness.cloud.objects) == ["group", "share"]
        await asyncio.sleep(200)
        assert (
            harness.reasons(controller).count("Retained") == 2
        )  # once it is certain that they will not come back
    async with harness.running(documents=()) as controller:
        await asyncio.sleep(200)
        assert list(harness.cloud.objects) == ["group", "share"]


async def test_purge_spares_nothing(harness):
    """When a person asks for it, retained data goes too, and what was retained before."""
    async with harness.running(
        *family(harness, retain=True), documents=documents(harness)
    ) as controller:
        await controller.settled()
        controller.set_desired([], [])
        await asyncio.sleep(5)
        assert len(harness.cloud.objects) == 3
        controller.set_desired([], [], purge=True)
        harness.approve_all(controller)
        await asyncio.sleep(40)
        assert harness.cloud.objects == {}


async def test_many_documents_vanishing_at_once_need_a_person(harness):
    """When more than half of the documents are gone, prune: true is not enough, for a folder may be
    unmounted.
    """
    refs = [DocumentRef("Service", f"s{i}") for i in range(4)]
    things = [harness.thing(ref.name, document=ref) for ref in refs]
    states = [harness.state(ref, scope="dev", prune=True) for ref in refs]
    async with harness.running(*things, documents=tuple(states)) as controller:
        await controller.settled()
        controller.set_desired(things[:2], states[:2])
        await asyncio.sleep(5)
        controller.set_desired(things[:1], states[:1])
        await asyncio.sleep(200)
        assert "delete" not in harness.cloud.writes()
        controller.approve(refs[1])
        await asyncio.sleep(1)
        assert harness.cloud.writes("s1") == ["create", "delete"]


async def test_an_unreadable_source_deletes_nothing(harness):
    """While the documents are known to be incomplete nothing that is missing counts as gone, across
    restarts too.
    """
    things, both = family(harness), documents(harness, prune=True)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things[:2], both[:1], complete=False)
        await asyncio.sleep(100)
        assert "delete" not in harness.cloud.writes()
        assert harness.condition(controller, "Ready") == ("True", "AllGood")
    controller = harness.controller()
    controller.set_desired(things[:2], both[:1], complete=False)
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(100)
    assert "delete" not in harness.cloud.writes()
    await controller.stop()
    await task


async def test_what_vanished_while_the_daemon_was_down_is_found_again(harness):
    """A restarted daemon deletes what it remembers and no document wants, by the id it kept."""
    things, both = family(harness), documents(harness, prune=True)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
    async with harness.running(*things[:2], documents=both[:1]) as controller:
        assert await controller.settled() is ExitClass.DONE
        assert list(harness.cloud.objects) == ["group", "share"]


async def test_without_any_memory_the_inventory_names_what_to_delete(harness):
    """With state.db lost, what carries our mark and no document wants waits for a person as
    everything else does.
    """
    things, both = family(harness), documents(harness)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
    harness.store = type(harness.store).open(":memory:", "test")
    async with harness.running(*things[:2], documents=both[:1]) as controller:
        await controller.settled()
        assert controller.set_orphans(things) == (harness.key("app"),)
        await asyncio.sleep(100)
        assert harness.condition(controller, "Synced") == ("False", "AwaitingApproval")
        controller.approve(harness.DOC)
        assert await controller.settled() is ExitClass.DONE
        assert list(harness.cloud.objects) == ["group", "share"]
        assert controller.set_orphans(things[:2]) == ()


async def test_a_list_that_still_holds_what_was_deleted_brings_nothing_back(harness):
    """A list that was read before the deletion, or lags behind it, is no new object, nor a new
    document on its way out.
    """
    things, both = family(harness), documents(harness, prune=True)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things[:2], both[:1])
        await asyncio.sleep(40)
        assert "app" not in harness.cloud.objects
        assert controller.set_orphans(things) == ()
        assert [state.ref for state in controller.documents()] == [both[0].ref]
        await asyncio.sleep(40)
        assert controller.set_orphans(things) == (harness.key("app"),)


async def test_what_only_the_inventory_knows_is_looked_up_by_its_id(harness):
    """Without a document or a memory its id is enough to ask whether it is there; an error of that
    question is told, and the question is asked again.
    """
    harness.cloud.objects["app"] = {}
    orphan = Gone(Identity(harness.key("app"), "/things/app", "dev"), harness.DOC)
    async with harness.running(documents=(harness.state(ENV),)) as controller:
        harness.kind.errors["exists"] = [TransportFailed(Reason.AZURE_UNREACHABLE, "reset")]
        controller.set_orphans([orphan])
        await asyncio.sleep(90)
        assert Reason.AZURE_UNREACHABLE in harness.reasons(controller)
        assert harness.condition(controller, "Synced") == ("False", "AwaitingApproval")
        del harness.cloud.objects["app"]
        await asyncio.sleep(70)
        assert controller.converged() is ExitClass.DONE
        assert harness.cloud.writes() == []


async def test_an_object_that_never_was_is_forgotten_at_once(harness):
    """A name corrected before anything was written leaves nothing to approve."""
    async with harness.running(
        harness.thing("tpyo", ("missing",)),
        harness.thing("oops"),
        why_not=lambda _: NotReadyYet(Reason.NOT_LEADER, "another leads"),
    ) as controller:
        await asyncio.sleep(1)
        controller.set_desired([harness.thing("typo", ("missing",))], [harness.state(generation=2)])
        await asyncio.sleep(1)
        assert harness.key("oops") not in controller.approvable()


async def test_only_managed_objects_are_deleted(harness):
    """What was only observed or skipped is never deleted."""
    harness.cloud.objects["app"] = {}
    async with harness.running(
        harness.thing("app", policy=Policy.OBSERVE), documents=(harness.state(prune=True),)
    ) as controller:
        await controller.settled()
        controller.set_desired([], [])
        await asyncio.sleep(100)
        assert harness.cloud.writes() == []


async def test_a_failed_deletion_is_tried_again(harness):
    """An error while deleting is retried like any other."""
    things, both = family(harness), documents(harness, prune=True)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        harness.kind.errors["delete"] = [TransportFailed(Reason.AZURE_UNREACHABLE, "reset")]
        controller.set_desired(things[:2], both[:1])
        assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.writes("app") == ["create", "delete", "delete"]


async def test_a_replacement_waits_for_approval(harness):
    """A change that only deleting can bring waits for a person, then deletes and creates again."""
    harness.cloud.objects["app"] = {"size": 0}
    harness.kind.rules = Rules(effects={"size": "replace"})
    async with harness.running(harness.thing("app", size=1)) as controller:
        assert await controller.settled() is ExitClass.WAITING_FOR_HUMAN
        assert "and create it again" in controller.conditions(harness.DOC).get("Synced").message
        assert harness.cloud.writes() == []
        assert (await controller.plan())[0].action == "replace"
        controller.approve(harness.DOC)
        assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.writes() == ["delete", "create"]
        assert controller.approvable() == ()


async def test_data_is_never_replaced(harness):
    """An object that holds data is not deleted to be created again, not even with prune."""
    harness.cloud.objects["share"] = {"size": 0}
    harness.kind.rules = Rules(effects={"size": "replace"})
    thing = harness.thing("share", size=1, retain=True)
    async with harness.running(thing, documents=(harness.state(prune=True),)) as controller:
        assert await controller.settled() is ExitClass.FAILED
        assert harness.cloud.writes() == []


async def test_down_is_nothing_special(harness):
    """Taking everything down is an empty set of documents, an approval, and no grace period."""
    async with harness.running(
        *family(harness), documents=documents(harness), pacing=Pacing(grace=0)
    ) as controller:
        await controller.settled()
        controller.set_desired([], [])
        lines = await controller.plan()
        assert [(line.key.name, line.action) for line in lines] == [
            ("app", "delete"),
            ("share", "delete"),
            ("group", "delete"),
        ]
        harness.approve_all(controller)
        async with asyncio.timeout(5):
            assert await controller.settled() is ExitClass.DONE
        assert harness.cloud.objects == {}


async def test_all_that_goes_of_a_service_goes_before_anything_of_its_environment(harness):
    """A gateway, which no service refers to, outlives the services that it leads to, in the plan
    and in what is deleted; a service that stays does not hold it up.
    """
    things, both = family(harness), documents(harness, prune=True)
    gateway = harness.thing("gateway", ("group",), document=ENV)
    async with harness.running(*things, gateway, documents=both) as controller:
        await controller.settled()
        controller.set_desired((), ())
        planned = [line.key.name for line in await controller.plan() if line.action == "delete"]
        assert planned.index("app") < planned.index("gateway")
        await asyncio.sleep(40)
        for document in (ENV, harness.DOC):
            controller.approve(document)
        await controller.settled()
        deleted = [name for verb, name in harness.cloud.calls if verb == "delete"]
        assert deleted[0] == "app"
        assert set(deleted) == {"app", "gateway", "share", "group"}


async def test_a_gateway_that_is_no_longer_wanted_waits_for_no_service_that_stays(harness):
    """Only what goes as well goes first."""
    things, both = family(harness), documents(harness, prune=True)
    gateway = harness.thing("gateway", ("group",), document=ENV)
    async with harness.running(*things, gateway, documents=both) as controller:
        await controller.settled()
        controller.set_desired(things, both)
        await controller.settled()
        deleted = [name for verb, name in harness.cloud.calls if verb == "delete"]
        assert deleted == ["gateway"]


async def test_an_approval_to_replace_ends_with_the_creation(harness):
    """A daemon that was killed between the deletion and its note has left the approval. It does not
    let a later replacement go ahead.
    """
    thing = harness.thing("app", a=1)
    harness.store.approve(thing.key, "replace")
    async with harness.running(thing) as controller:
        assert await controller.settled() is ExitClass.DONE
    assert harness.cloud.writes() == ["create"]
    assert not harness.store.approved(thing.key, "replace")
