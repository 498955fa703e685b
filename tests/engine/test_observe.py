"""Objects that are only observed: they are reported, and nobody waits for them without end."""

import asyncio

import pytest

from reconciler.api.reasons import Reason
from reconciler.engine.external import Policy
from reconciler.engine.verdict import ExitClass

pytestmark = pytest.mark.looptime


async def test_observe_reports_and_writes_nothing(harness):
    """Under reconcilePolicy Observe differences show in the status and stay."""
    harness.cloud.objects["app"] = {"size": 0}
    async with harness.running(harness.thing("app", size=1, policy=Policy.OBSERVE)) as controller:
        assert await controller.settled() is ExitClass.DONE
        await asyncio.sleep(100)
        assert harness.cloud.writes() == []
        assert harness.condition(controller, "Synced") == ("False", "ObserveOnly")
        assert "size: 0 -> 1" in controller.conditions(harness.DOC).get("Synced").message


@pytest.mark.parametrize("waiting", [Policy.OBSERVE, Policy.MANAGE])
async def test_what_only_a_person_can_bring_ends_the_wait(harness, waiting):
    """An observed object that is missing is not made, so neither it nor what waits for it, observed
    or managed, keeps a single run waiting.
    """
    async with harness.running(
        harness.thing("app", ("env",), size=1, policy=waiting),
        harness.thing("env", ("group",), size=1, policy=waiting),
        harness.thing("group", size=1, policy=Policy.OBSERVE),
    ) as controller:
        async with asyncio.timeout(60):
            assert await controller.settled() is ExitClass.WAITING_FOR_HUMAN
        assert harness.cloud.writes() == []
        assert controller.conditions(harness.DOC).get("Synced").reason in (
            Reason.OBSERVE_ONLY,
            Reason.WAITING_FOR_REFERENCE,
        )
        assert harness.condition(controller, "Progressing")[0] == "False"
