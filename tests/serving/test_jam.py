"""A grammar that never ends compiling, and an engine that answers nothing, are noticed, told by
`/ready`, and no longer when it is over.
"""

import asyncio

from serving.jam import SILENT, Jam
from serving.request.traffic import Call


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


def _jam(engine, now, calls, answered=None):
    heard = answered or now
    return Jam(
        lambda: calls, engine.plain, engine.structured, lambda: heard[0], lambda: now[0], wait=0.05
    )


async def test_structured_output_that_is_stuck_is_told_until_it_answers_again():
    """Nothing is probed without reason; a busy engine, where nothing answers, is not jammed."""
    engine, now, calls = Engine(), [100.0], set()
    jam = _jam(engine, now, calls)
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


async def test_an_engine_that_answers_nothing_is_told_until_it_answers_again():
    """After minutes in which somebody waited and nobody was answered, and only when our own test
    fails too; the clients that leave then do not end it.
    """
    engine, now, answered = Engine(), [1000.0], [0.0]
    calls = {_call(1000.0, structured=False)}
    jam = _jam(engine, now, calls, answered)
    engine.stuck = {"plain", "structured"}
    await jam.look()
    assert (jam.message, engine.asked) == ("", []), "an engine without work has answered long ago"

    now[0] += SILENT + 1
    answered[0] = now[0] - 5
    await jam.look()
    assert (jam.message, engine.asked) == ("", []), "others are answered"

    answered[0], engine.stuck = 1000.0, set()
    await jam.look()
    assert jam.message == "", "it answers us"

    engine.stuck = {"plain", "structured"}
    await jam.look()
    assert "the engine is stuck" in jam.message
    calls.clear()
    await jam.look()
    assert "the engine is stuck" in jam.message

    engine.stuck = set()
    await jam.look()
    assert jam.message == ""
