"""What somebody else changed is put right and told; what we changed ourselves is no drift."""

import asyncio

import pytest

from reconciler.engine.external import Change

pytestmark = pytest.mark.looptime


async def test_drift_is_put_right_and_reported_with_its_fields(harness):
    """A field changed behind our back is written again within one resync, and an event names the
    field.
    """
    async with harness.running(harness.thing("app", size=1, mode="a")) as controller:
        await controller.settled()
        harness.cloud.objects["app"]["mode"] = "b"
        await asyncio.sleep(70)
        assert harness.cloud.objects["app"]["mode"] == "a"
        (event,) = [event for event in controller.events() if event.reason == "DriftFound"]
        assert event.fields == ("mode",)
        assert event.type == "Warning"
        assert harness.condition(controller, "Drifted") == ("False", "NoDrift")
        harness.cloud.objects.clear()
        await asyncio.sleep(70)
        assert harness.cloud.writes() == ["create", "update", "create"]
        assert (
            "app is missing"
            in [event for event in controller.events() if event.reason == "DriftFound"][-1].message
        )


async def test_what_follows_another_object_is_not_drift(harness):
    """A key that was rotated in its app differs elsewhere too; that is an update and no warning."""

    async def written(verb, _name):
        if verb == "update":
            harness.kind.observation.clear()

    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        changed = Change("apiKeys[default]", "(secret)", "(secret)", "hot", follows=True)
        harness.kind.observation["app"] = {"changes": (changed,)}
        harness.kind.before_call = written
        await asyncio.sleep(140)
        assert harness.cloud.writes() == ["create", "update"]
        assert "DriftFound" not in harness.reasons(controller)
        assert harness.condition(controller, "Synced") == ("True", "InSync")


async def test_an_edit_is_not_drift(harness):
    """A difference that the document itself brought is an update, not drift."""
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        controller.set_desired(
            [harness.thing("app", size=2, generation=2)], [harness.state(generation=2)]
        )
        assert harness.condition(controller, "Synced")[0] == "False"
        assert harness.condition(controller, "Ready")[0] == "True"
        assert controller.observed_generation(harness.DOC) == 1
        await controller.settled()
        assert controller.observed_generation(harness.DOC) == 2
        assert harness.reasons(controller) == ["Creating", "Ready", "Updating"]
