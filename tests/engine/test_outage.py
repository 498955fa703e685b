"""After an outage no object waits for the end of its own backoff. Time is virtual."""

import asyncio

import pytest

from reconciler.api.reasons import Reason
from reconciler.engine.errors import TransportFailed
from reconciler.engine.outage import SCOUT_EVERY, Outage
from reconciler.engine.verdict import ExitClass

pytestmark = pytest.mark.looptime
NAMES = tuple(f"app{number}" for number in range(12))


async def test_all_objects_heal_soon_after_azure_answers_again(harness):
    """After ten minutes each backs off for two minutes; within some ten seconds of the first answer
    all were looked at. While it lasts, only one of them asks so often.
    """
    silent, asked = False, []

    async def before_call(_verb, name):
        if silent:
            asked.append(name)
            raise TransportFailed(Reason.AZURE_UNREACHABLE, "no answer")

    harness.kind.before_call = before_call
    async with harness.running(*map(harness.thing, NAMES)) as controller:
        await controller.settled()
        silent = True
        controller.trigger()
        await asyncio.sleep(600)
        asked.clear()
        await asyncio.sleep(100)
        often = sorted(map(asked.count, NAMES))
        assert often[-1] >= 100 / SCOUT_EVERY - 1
        assert often[-2] <= 3
        silent = False
        assert controller.converged() is None
        await asyncio.sleep(SCOUT_EVERY + 2)
        assert controller.converged() is ExitClass.DONE


def test_who_asks_is_replaced_when_it_does_not_ask_any_more(harness):
    """It is not wanted, or waits for another object: the next one asks in its place. An answer to
    another one wakes nobody.
    """
    first, second, third = keys = [harness.key(name) for name in NAMES[:3]]
    outage = Outage()
    for key in keys:
        assert outage.saw(key, Reason.AZURE_UNREACHABLE) == ()
    assert [outage.delay(key, 120.0) for key in keys] == [SCOUT_EVERY, 120.0, 120.0]
    assert outage.saw(first, Reason.WAITING_FOR_REFERENCE, asked=False) == (second,)
    assert outage.saw(second, Reason.LOGIN_UNREACHABLE) == ()
    assert [outage.delay(key, 120.0) for key in keys] == [120.0, SCOUT_EVERY, 120.0]
    assert outage.saw(first, Reason.AZURE_UNREACHABLE) == ()
    assert outage.saw(third, None) == ()
    assert outage.saw(second, Reason.REVISION_FAILED) == (first,)
    assert outage.saw(first, None, asked=False) == ()
