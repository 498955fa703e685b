"""A herd on a sleeping service: one wake, and the order of arrival."""

import asyncio
import json

import pytest

from serving.gateway import line, upstream
from tests.patience import LEAST
from tests.serving.gateway.stand_in import StandIn
from tests.serving.gateway.test_holds import QUICK, _ask

HERD = 90  # more than are let on at once, fewer than may wait


@pytest.fixture
def written(monkeypatch):
    """The numbers of the requests in the order in which the gateway wrote them. A service that has
    too little CPU reads them in another one.
    """
    numbers, turns = [], upstream._turns

    async def note(_session, _context, sent):
        numbers.append(int(json.loads(sent.chunk)["messages"][0]["content"]))

    def noted():
        config = turns()
        config.on_request_chunk_sent.append(note)
        return config

    monkeypatch.setattr(upstream, "_turns", noted)
    monkeypatch.setattr(line, "LONGEST_TURN", LEAST)
    return numbers


async def test_a_herd_wakes_once_and_is_answered_in_order(gateways, written):
    """However many wait, the service is asked once whether it is ready, and the requests are written
    in the order of their arrival.
    """
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, phi=phi)
    asking, waiting = [], gateway.world.backends["phi"].line
    for number in range(HERD):
        asking.append(asyncio.create_task(_ask(gateway, number, stream=number % 2 == 0)))
        async with asyncio.timeout(LEAST):
            while len(waiting) <= number:
                await asyncio.sleep(0.005)
    phi.awake.set()
    assert await asyncio.gather(*asking) == [200] * HERD
    assert phi.asked["/ready"] == 1
    assert written == list(range(HERD))
    assert gateway.world.usage.totals["team", "phi"].requests == HERD
