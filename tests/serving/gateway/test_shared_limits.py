"""The replicas of a gateway share the limits of keys: whatever they do, together they let no more
through than the document says, but for one request each.
"""

import os
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.records import ALIVE, Records
from serving.gateway.routes import GatewayState
from serving.request.keys import Keys
from serving.request.limits import Demand
from tests.serving.gateway.conftest import key
from tests.serving.gateway.stand_in import StandIn


@settings(max_examples=100, deadline=None)
@given(
    sharers=st.integers(1, 5),
    limit=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 20), min_size=1, max_size=60),
    turns=st.lists(st.integers(0, 4), min_size=60, max_size=60),
    after=st.integers(0, 60),
)
def test_all_replicas_together_keep_a_limit(sharers, limit, pauses, turns, after):
    """Also when another replica comes while they serve, and when one of them gets all requests."""
    now = [0.0]
    replicas = [
        Keys([key("team", "sk", requests_per_minute=limit)], lambda: now[0]) for _ in range(5)
    ]
    for keys in replicas:
        keys.share(sharers)
    running, through = sharers, 0
    for step, (pause, turn) in enumerate(zip(pauses, turns, strict=False)):
        now[0] += pause
        if step == after and running < 5:
            running += 1
            for keys in replicas[:running]:
                keys.share(running)
        keys = replicas[turn % running]
        mine = next(iter(keys))
        if keys.take(mine, Demand()) is None:
            through += 1
            keys.settle(mine, Demand(), 0)
    # A bucket that was full for one replica more is a minute's worth for that one.
    assert through <= limit + now[0] * limit / 60 + 2 * running


def test_a_request_within_the_limit_is_taken_by_a_small_part_of_it():
    """Five choices at once are less than ten a minute, though each of four replicas has 2.5."""
    now = [0.0]
    keys = Keys([key("team", "sk", requests_per_minute=10)], lambda: now[0])
    keys.share(4)
    mine = next(iter(keys))
    assert keys.take(mine, Demand(5)) is None
    assert keys.take(mine, Demand()).wait == (2.5 + 1) * 60 / 2.5
    assert keys.take(mine, Demand(11)).wait is None


def test_replicas_that_are_gone_count_no_more(tmp_path):
    """By the share's own times; a folder without a state, and one that comes back, are met."""
    state = GatewayState(replica="x", heartbeat="2026-11-29T12:00:00Z")
    mine, other, dead = (Records(tmp_path, name) for name in ("gw-1", "gw-2", "gw-3"))
    for each in (mine, other, dead):
        each.save(state)
    (tmp_path / "usage" / "new").mkdir()
    old = tmp_path / "usage" / "gw-3" / "state.json"
    os.utime(old, (time.time() - ALIVE - 5,) * 2)
    assert mine.replicas() == 2
    dead.save(state)
    assert max(mine.replicas() for _ in range(12)) == 3


async def test_a_gateway_divides_its_limits_by_those_that_run(gateways):
    """A second replica halves what the first lets through, and is seen by its state alone."""
    limited = (key("team", "sk-everything", requests_per_minute=8),)
    gateway = await gateways(phi=StandIn(), more={"keys": limited})
    Records(gateway.data, "gw-2").save(gateway.world.state())
    await gateway.world._record()
    answers = []
    for _ in range(8):
        async with gateway.post() as answer:
            answers.append((answer.status, answer.headers.get("x-ratelimit-limit-requests")))
    assert [status for status, _ in answers] == [200] * 4 + [429] * 4
    assert answers[0][1] == "8"
