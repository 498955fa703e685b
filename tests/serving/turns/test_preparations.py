"""Long bodies of one key reach vLLM one at a time; nobody else waits for them."""

import asyncio
import json

from serving.request.traffic import current_call
from serving.turns import preparations
from tests.serving.gate_call import Inner, api_key, call, make_door

PATH = "/v1/chat/completions"


async def never():
    await asyncio.Event().wait()


def body(letters):
    messages = [{"role": "user", "content": "x" * letters}]
    return json.dumps({"model": "m", "messages": messages}).encode()


def ask(door, inner, letters, key="sk-secret", receive_more=never):
    headers = [(b"authorization", b"Bearer " + key.encode())]
    return asyncio.create_task(
        call(
            PATH,
            "POST",
            headers=headers,
            inner=inner,
            door=door,
            body=(body(letters),),
            receive_more=receive_more,
        )
    )


class Vllm(Inner):
    """Holds each call until `go`, and knows them."""

    def __init__(self):
        super().__init__()
        self.calls = []

    async def __call__(self, scope, receive, send):
        self.calls.append(current_call.get())
        await super().__call__(scope, receive, send)


def make():
    door, inner = make_door(base="m"), Vllm()
    door.keys.replace([api_key("default"), api_key("other", "sk-other")])
    inner.go.clear()
    return door, inner


async def reached(inner, count):
    for _ in range(count):
        await asyncio.wait_for(inner.entered.acquire(), 10)


async def test_twenty_long_prompts_of_a_key_are_in_vllm_one_at_a_time(monkeypatch):
    """Each is let in when the engine has the one before; short ones, and other keys', pass."""
    monkeypatch.setattr(preparations, "SECONDS", 60.0)
    door, inner = make()
    long = [ask(door, inner, 100_000) for _ in range(20)]
    await reached(inner, 1)
    others = [ask(door, inner, 10), ask(door, inner, 100_000, "sk-other")]
    await reached(inner, 2)
    for let_in in range(1, 20):
        await asyncio.sleep(0.01)  # nobody comes by themselves
        assert len(inner.calls) == 2 + let_in
        for one in inner.calls:
            if one.key == "default":
                one.on_engine()  # once more for those that are there already: it counts once
        await reached(inner, 1)
    inner.go.set()
    answers = await asyncio.gather(*long, *others)
    assert [status for status, *_ in answers] == [200] * 22


async def test_a_turn_ends_by_itself_when_the_engine_does_not_come(monkeypatch):
    """What takes longer than tokenizing waits for an image's host, which costs nobody anything."""
    monkeypatch.setattr(preparations, "SECONDS", 0.01)
    door, inner = make()
    asks = [ask(door, inner, 100_000) for _ in range(3)]
    await reached(inner, 3)
    inner.go.set()
    await asyncio.gather(*asks)


async def test_a_client_that_leaves_while_it_waits_never_reaches_vllm(monkeypatch):
    """What it had taken of its key's limits is given back."""
    monkeypatch.setattr(preparations, "SECONDS", 60.0)
    door, inner = make()
    gone = asyncio.Event()

    async def leave():
        await gone.wait()
        return {"type": "http.disconnect"}

    first = ask(door, inner, 100_000)
    await reached(inner, 1)
    second = ask(door, inner, 100_000, receive_more=leave)
    third = ask(door, inner, 100_000)
    while door.keys.service.running < 3:
        await asyncio.sleep(0.001)
    gone.set()
    while door.keys.service.running > 2:
        await asyncio.sleep(0.001)
    inner.go.set()
    await asyncio.gather(first, third)
    assert len(inner.scopes) == 2
    await asyncio.wait({second})  # nobody is there who could be answered


async def test_waiting_bodies_take_their_keys_room(monkeypatch):
    """A key that has too many bytes waiting is told to come back; another key is not."""
    monkeypatch.setattr(preparations, "SECONDS", 60.0)
    door, inner = make()
    door.lane._room = 500_000
    asks = [ask(door, inner, 100_000) for _ in range(6)]
    await reached(inner, 1)
    other = ask(door, inner, 100_000, "sk-other")
    await reached(inner, 1)
    refused, _ = await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    assert {task.result()[0] for task in refused} == {429}
    inner.go.set()
    await asyncio.gather(*asks, other)
