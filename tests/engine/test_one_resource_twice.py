"""A resource that two documents name."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.external import Policy
from tests.engine.test_deletion import ENV, documents, family

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("policy", [Policy.MANAGE, Policy.OBSERVE, Policy.PAUSED])
@pytest.mark.parametrize("restarted", [False, True])
async def test_what_another_document_asks_for_stays(harness, policy, restarted):
    """Two documents may name one resource, and a renamed document names what the old one did: when
    one goes, the resource stays, however much the set permits and whatever the other's policy is.
    """
    harness.kind.same["alias"] = "SHARE"
    things, both = family(harness), documents(harness, prune=True)
    alias = harness.thing("alias", document=ENV, policy=policy)
    async with harness.running(*things, documents=both) as controller:
        await controller.settled()
        if not restarted:
            controller.set_desired([things[0], alias], both[:1], purge=True)
            await asyncio.sleep(100)
    if restarted:
        async with harness.running(things[0], alias, documents=both[:1]):
            await asyncio.sleep(100)
    assert harness.cloud.writes("share") == ["create"]
    assert harness.cloud.writes("app") == ["create", "delete"]
