"""Large grammars of one key take turns; nobody else waits for them."""

import asyncio
import json
import os
import threading

import pytest

from serving.patches import grammar_threads
from serving.request.bodies import RefusedError
from serving.request.schemas import Grammar, large_grammar
from serving.request.traffic import Call
from serving.turns import compilations
from serving.turns.compilations import Compilations
from tests.serving.gate_call import Inner, call, make_door

LARGE = [Grammar(f"{number}", 500) for number in range(50)]


async def never():
    await asyncio.Event().wait()


class Request:
    """One request in its turn: `entered` once vLLM has it, which goes on until `end`."""

    def __init__(self, turns, grammar, key="k", receive=never):
        self.call, self.entered, self.end = Call(key), asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._run(turns, grammar, key, receive))

    async def _run(self, turns, grammar, key, receive):
        async with turns.turn(key, grammar, self.call, receive):
            self.entered.set()
            await self.end.wait()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_second_grammar_of_a_key_waits_for_the_firsts_first_token():
    """Other keys, small grammars and requests without one pass at once."""
    turns = Compilations()
    first, second = Request(turns, LARGE[0]), Request(turns, LARGE[1])
    others = [Request(turns, LARGE[2], "other"), Request(turns, None)]
    await settle()
    assert [r.entered.is_set() for r in (first, second, *others)] == [True, False, True, True]
    first.call.produced(1)
    await settle()
    assert second.entered.is_set()
    assert not first.task.done()


async def test_a_grammar_that_has_compiled_does_not_wait_again():
    """VLLM keeps what it has compiled; a request that waited for the same one does not compile."""
    turns = Compilations()
    first, same, after = (Request(turns, LARGE[n]) for n in (0, 0, 1))
    await settle()
    first.call.produced(1)
    await settle()
    assert same.entered.is_set()
    assert after.entered.is_set()
    again = Request(turns, LARGE[0])
    await settle()
    assert again.entered.is_set()


async def test_a_client_that_leaves_while_it_waits_gives_its_place_up():
    """The next in line is not held up by it."""
    turns, gone = Compilations(), asyncio.Event()

    async def leave():
        await gone.wait()
        return {"type": "http.disconnect"}

    first = Request(turns, LARGE[0])
    await settle()
    second, third = Request(turns, LARGE[1], receive=leave), Request(turns, LARGE[2])
    await settle()
    gone.set()
    await settle()
    assert isinstance(second.task.exception(), ConnectionError)
    first.call.produced(1)
    await settle()
    assert third.entered.is_set()


async def test_the_line_moves_only_when_a_compilation_without_a_client_may_be_over(monkeypatch):
    """Hanging up cancels no compilation, so it brings the next one no sooner."""
    monkeypatch.setattr(compilations, "SECONDS_A_PART", 0.0001)
    turns = Compilations()
    first, second = Request(turns, LARGE[0]), Request(turns, LARGE[1])
    await settle()
    first.task.cancel()
    await settle()
    assert not second.entered.is_set()
    await asyncio.wait_for(second.entered.wait(), 10)


async def test_a_waiting_request_that_is_cancelled_leaves_the_line_whole(monkeypatch):
    """Even at the moment when its turn comes."""
    monkeypatch.setattr(compilations, "SECONDS_A_PART", 0.0)
    turns = Compilations()
    first, second, third = (Request(turns, LARGE[n]) for n in (0, 1, 2))
    await settle()
    first.call.produced(1)
    second.task.cancel()
    await asyncio.wait_for(third.entered.wait(), 10)
    fourth = Request(turns, LARGE[0])
    await settle()
    assert fourth.entered.is_set()


async def test_no_more_than_a_few_wait():
    """One key's waiting requests do not use up what the service answers at a time."""
    turns = Compilations()
    requests = [Request(turns, grammar) for grammar in LARGE[: compilations.WAITING + 2]]
    await settle()
    error = requests[-1].task.exception()
    assert isinstance(error, RefusedError)
    assert error.answer.status == 429
    assert not any(request.task.done() for request in requests[:-1])
    for request in requests:
        request.task.cancel()
    await asyncio.gather(*(request.task for request in requests), return_exceptions=True)


def _schema(count, **more):
    names = {f"p{number}": {"type": "string"} for number in range(count)}
    return {"type": "object", "properties": names, **more}


@pytest.mark.parametrize(
    ("asked", "large", "reason"),
    [
        ({}, False, "nothing compiles"),
        ({"response_format": {"json_schema": {"schema": _schema(5)}}}, False, "small"),
        ({"response_format": {"json_schema": {"schema": _schema(200)}}}, True, "large"),
        ({"tools": [{"function": {"parameters": _schema(200)}}]}, False, "not compiled by itself"),
        (
            {"tools": [{"function": {"parameters": _schema(200)}}], "tool_choice": "required"},
            True,
            "compiled when a call is forced",
        ),
        ({"structured_outputs": {"json": json.dumps(_schema(200))}}, True, "as text"),
    ],
)
def test_what_takes_long_to_compile_is_known_by_its_content(asked, large, reason):
    """The same content has the same digest."""
    found = large_grammar(asked)
    assert bool(found) == large, reason
    assert found == large_grammar(json.loads(json.dumps(asked)))


async def test_the_gate_holds_the_second_schema_of_a_key_back():
    """Nothing of it reaches vLLM before the first has a token, and a plain chat passes."""
    inner, door = Inner(), make_door(base="m")
    inner.go.clear()

    def body(number):
        wanted = {"json_schema": {"schema": _schema(200, title=str(number))}}
        return json.dumps({"model": "m", "messages": [], "response_format": wanted}).encode()

    async def ask(number):
        return await call(
            "/v1/chat/completions",
            "POST",
            inner=inner,
            door=door,
            body=(body(number), b""),
            receive_more=never,
        )

    asks = [asyncio.create_task(ask(number)) for number in range(2)]
    await asyncio.wait_for(inner.entered.acquire(), 10)
    await asyncio.sleep(0.05)
    assert len(inner.scopes) == 1
    for one in list(door.calls):
        one.produced(1)  # only the first has been told to say so
    await asyncio.wait_for(inner.entered.acquire(), 10)
    inner.go.set()
    assert [answer[0] for answer in await asyncio.gather(*asks)] == [200, 200]


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="the system has no priorities")
def test_the_thread_that_compiles_gives_way_to_the_engine():
    """The main thread keeps its priority, and a thread that is low already keeps its own."""
    found = []

    def compile_one(lowered):
        grammar_threads.lower_this_thread()
        own = threading.get_native_id()
        found.append(os.getpriority(os.PRIO_PROCESS, own))
        os.setpriority(os.PRIO_PROCESS, own, lowered)
        grammar_threads.lower_this_thread()
        found.append(os.getpriority(os.PRIO_PROCESS, own))

    normal = os.getpriority(os.PRIO_PROCESS, os.getpid())
    thread = threading.Thread(target=compile_one, args=(19,))
    thread.start()
    thread.join()
    grammar_threads.lower_this_thread()
    assert os.getpriority(os.PRIO_PROCESS, os.getpid()) == normal
    assert found == [min(19, normal + grammar_threads.NICE), 19]
