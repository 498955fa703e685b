"""A grammar that never ends compiling is noticed, told by `/ready`, and no longer when it is over."""

import asyncio

from serving.jam import Jam
from serving.traffic import Call


class Engine:
    """Two probes; each answers, or hangs while it is stuck."""

    def __init__(self):
        self.stuck, self.asked = set(), []

    async def probe(self, kind):
        self.asked.append(kind)
        if kind in self.stuck:
            await asyncio.Event().wait()

    async def plain(self):
        await self.probe("plain")

    async def structured(self):
        await self.probe("structured")


def _call(began, structured=True, first=None):
    call = Call("k", structured=structured, clock=lambda: began)
    call.first_token = first
    return call


async def test_structured_output_that_is_stuck_is_told_until_it_answers_again():
    """Nothing is probed without reason; a busy engine, where nothing answers, is not jammed."""
    engine, now, calls = Engine(), [100.0], set()
    jam = Jam(lambda: calls, engine.plain, engine.structured, lambda: now[0], wait=0.05)
    calls.update({_call(100.0), _call(0.0, structured=False), _call(0.0, first=1.0)})
    await jam.look()
    assert (jam.message, engine.asked) == ("", [])

    now[0], engine.stuck = 101.0, {"plain", "structured"}
    await jam.look()
    assert (jam.message, engine.asked) == ("", ["structured", "plain"])

    engine.stuck = {"structured"}
    await jam.look()
    assert "structured output is stuck" in jam.message

    calls.clear()
    await jam.look()
    assert jam.message, "that the clients have left does not end it"

    engine.stuck = set()
    await jam.look()
    assert jam.message == ""
