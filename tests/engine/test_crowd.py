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


async def test_no_environment_waits_for_what_another_one_sets_going(harness):
    """Of four groups with twenty services each, all groups are made before the first service: each
    takes minutes, in which nothing else is held up.
    """

    async def second(_verb, _name):
        await asyncio.sleep(1.0)

    harness.kind.before_call = second
    things = []
    for group in range(4):
        things.append(harness.thing(f"group-{group}"))
        things += [harness.thing(f"web-{group}-{n}", refs=(f"group-{group}",)) for n in range(20)]
    async with harness.running(*things, workers=2) as controller:
        assert await controller.settled() is ExitClass.DONE
    made = [name for verb, name in harness.cloud.calls if verb == "create"]
    assert sorted(made[:4]) == [f"group-{group}" for group in range(4)]
    assert len(made) == 84


async def test_many_dependents_let_a_later_save_go_first(harness):
    """A group that becomes ready wakes its hundred services; a save does not queue behind them."""

    async def second(_verb, _name):
        await asyncio.sleep(1.0)

    harness.kind.before_call = second
    services = [harness.thing(f"web-{n}", refs=("group",)) for n in range(100)]
    alone = harness.thing("alone", size=1)
    async with harness.running(alone, harness.thing("group"), *services, workers=2) as controller:
        await asyncio.sleep(20.0)
        before = len(harness.cloud.calls)
        assert 5 < len(harness.cloud.writes()) < 40
        saved = [harness.thing("alone", size=2), harness.thing("group"), *services]
        controller.set_desired(saved, [harness.state(generation=2)])
        await asyncio.sleep(6.0)
        assert ("update", "alone") in harness.cloud.calls[before:]


async def test_a_save_does_not_wait_for_workers_that_all_wait_for_azure(harness):
    """A resync has every worker wait for a list that takes ten seconds. A save is written before
    the list is there.
    """
    names = [f"web-{number:04}" for number in range(20)]
    things = {name: harness.thing(name, size=1) for name in names}
    async with harness.running(*things.values(), workers=2) as controller:
        await controller.settled()
        listing = asyncio.Event()

        async def slow(verb, name):
            if verb == "observe" and name != "web-0007":
                await listing.wait()

        harness.kind.before_call = slow
        controller.trigger()
        await asyncio.sleep(1.0)
        things["web-0007"] = harness.thing("web-0007", size=2)
        before = len(harness.cloud.calls)
        controller.set_desired([*things.values()], [harness.state(generation=2)])
        await asyncio.sleep(0.1)
        assert ("update", "web-0007") in harness.cloud.calls[before:]
        listing.set()


async def test_a_save_takes_along_what_it_waits_for(harness):
    """After a start a hundred folders have not been looked at yet, the one of the saved service
    among the last. It is looked at next, and then the service is written.
    """
    numbers = range(100)
    folders = [harness.thing(f"folder-{n}", size=1) for n in numbers]
    services = [harness.thing(f"web-{n}", size=1, refs=(f"folder-{n}",)) for n in numbers]
    async with harness.running(*folders, *services) as controller:
        await controller.settled()

    async def second(_verb, _name):
        await asyncio.sleep(1.0)

    harness.kind.before_call = second
    async with harness.running(*folders, *services, workers=2) as controller:
        await asyncio.sleep(5.0)
        before = len(harness.cloud.calls)
        services[90] = harness.thing("web-90", size=2, refs=("folder-90",))
        controller.set_desired([*folders, *services], [harness.state(generation=2)])
        await asyncio.sleep(5.0)
        assert ("update", "web-90") in harness.cloud.calls[before:]
