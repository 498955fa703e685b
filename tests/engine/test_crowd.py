"""Many objects at once: the loop over a scripted kind in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.verdict import ExitClass

pytestmark = pytest.mark.looptime


async def test_a_save_during_the_first_start_goes_ahead_of_what_waits(harness):
    """A hundred objects are on their way when somebody saves one of those that are there: it is
    written next, not last.
    """

    async def second(_verb, _name):
        await asyncio.sleep(1.0)

    harness.kind.before_call = second
    names = [f"web-{number:04}" for number in range(100)]
    things = {name: harness.thing(name, size=1) for name in names}
    async with harness.running(*things.values(), workers=2) as controller:
        await asyncio.sleep(30.0)
        there = harness.cloud.calls[-1][1]
        assert 5 < len(harness.cloud.writes()) < 60
        first = next(name for name in names if name in harness.cloud.objects and name != there)
        things[first] = harness.thing(first, size=2)
        controller.set_desired([*things.values()], [harness.state(generation=2)])
        before = len(harness.cloud.calls)
        await asyncio.sleep(6.0)
        assert ("update", first) in harness.cloud.calls[before:]
        harness.kind.before_call = None
        assert await controller.settled() is ExitClass.DONE
        assert len(harness.cloud.objects) == 100
