"""Requests at the same time: the first error is raised, and leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.arm.concurrency import beside, each, together


async def late(error):
    await asyncio.sleep(0)
    raise error


async def both():
    await beside(asyncio.sleep(0), late(ValueError("no")))


async def all_of_them():
    await each([1, 2], lambda _: late(ValueError("no")), at_once=2)


@pytest.mark.parametrize("fail", [both, all_of_them])
async def test_a_time_limit_around_a_failure_still_ends_as_one(fail):
    """Python before 3.13 would end it as a cancellation, which nobody who asked for a time limit
    expects.
    """

    async def limited():
        async with asyncio.timeout(0.05):
            for _ in range(3):
                with pytest.raises(ValueError, match="no"):
                    await fail()
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await limited()
    assert asyncio.current_task().cancelling() == 0


async def test_a_cancelled_caller_takes_its_requests_with_it():
    """What it has begun does not go on without it."""
    ended = []

    async def long(_):
        try:
            await asyncio.sleep(10)
        finally:
            ended.append(True)

    asking = asyncio.create_task(each([1, 2], long, at_once=2))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert ended == [True, True]


async def test_the_first_error_is_raised_as_it_is():
    """Not in a group, whatever the others did meanwhile."""

    async def start(group):
        group.create_task(late(KeyError("first")))
        group.create_task(asyncio.sleep(10))

    with pytest.raises(KeyError, match="first"):
        await together(start)
