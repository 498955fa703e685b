"""Bodies as the gate reads them: bounded, unpacked, looked through before they are parsed, and
dropped when they are refused.
"""

import asyncio
import gzip
import json
import random
import time
import zlib

import pytest

from serving.request.answers import refuse
from serving.request.bodies import (
    Incoming,
    Lane,
    RefusedError,
    answer_and_drop,
    look_through,
    read,
    refuse_by_size,
)
from serving.untrusted import DEPTH, VALUES, Shape

GZIP = [(b"content-encoding", b"gzip")]


def receiver(*parts, then="http.disconnect"):
    waiting = [*parts]

    async def receive():
        if not waiting:
            return {"type": then}
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    return receive


async def status_of(awaitable):
    try:
        await awaitable
    except RefusedError as error:
        return error.answer.status
    return 200


async def test_packed_bodies_are_unpacked_within_the_limit():
    """A bomb is refused at the limit, not after it; a cut or foreign body is 400, another packing
    415.
    """
    packed = gzip.compress(b'{"a": 1}')
    assert await read(receiver(packed[:9], packed[9:]), GZIP, 100) == b'{"a": 1}'
    bomb = gzip.compress(b"0" * (200 << 20))
    began = time.process_time()
    assert await status_of(read(receiver(bomb), GZIP, 1 << 20)) == 413
    assert time.process_time() - began < 1
    assert await status_of(read(receiver(packed[:-9]), GZIP, 100)) == 400
    assert await status_of(read(receiver(b"{}"), GZIP, 100)) == 400
    assert await status_of(read(receiver(zlib.compress(b"{}")), GZIP, 100)) == 400
    for other in (b"br", b"gzip, gzip", b"deflate"):
        assert await status_of(read(receiver(b"{}"), [(b"content-encoding", other)], 100)) == 415
    assert await read(receiver(b"{}"), [(b"content-encoding", b"identity")], 100) == b"{}"


async def test_a_client_that_leaves_is_no_request():
    """Half a body is never judged."""
    with pytest.raises(ConnectionError):
        await read(receiver(), [], 100)


async def test_a_body_that_does_not_arrive_is_given_up(monkeypatch):
    """408 after a minute, shortened here."""
    monkeypatch.setattr("serving.request.bodies.SECONDS", 0.05)

    async def never():
        await asyncio.Event().wait()

    assert await status_of(read(never, [], 100)) == 408


def _depth(value):
    if not isinstance(value, (list, dict)):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0)


def _made(dice, depth):
    if depth == 0 or dice.random() < 0.4:
        return dice.choice([1, 'a"b\\', '\\\\"[{', None, "[]{}," * dice.randint(0, 4), 1.5])
    if dice.random() < 0.5:
        return [_made(dice, depth - 1) for _ in range(dice.randint(0, 4))]
    return {dice.choice('abc"\\') * 2: _made(dice, depth - 1) for _ in range(dice.randint(0, 4))}


def test_depth_is_seen_without_parsing_wherever_the_slices_are_cut():
    """The same as of the parsed value, for texts full of quotes, escapes and brackets."""
    dice = random.Random(1)
    for _ in range(300):
        value = _made(dice, 6)
        text = json.dumps(value).encode()
        for size in (1, 2, 3, 7, 1000):
            shape = Shape()
            for at in range(0, len(text), size):
                shape.take(text[at : at + size])
            assert (shape.depth, shape.inside) == (_depth(value), False), text


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1),
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b"[" + b"1," * VALUES + b"1]",
        b"[" + b'"a",' * VALUES + b'"a"]',
    ],
)
async def test_deep_and_crowded_bodies_are_refused_before_they_are_parsed(body):
    """Neither a RecursionError nor half a second of parsing."""
    assert await status_of(Lane().parse(body)) == 400


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b"a" * 16_000_000 + b'"',
        b'"' + b'\\"' * 8_000_000 + b'"',
        b'"' * 200_000,
        b'"' + b"\\" * 1_000_001,
        b"[" + b"1," * 200_000 + b"1]",
    ],
)
async def test_looking_through_never_holds_the_loop(body):
    """A 16 MiB body leaves the loop free several times a second, whatever is in it."""
    longest, last, done = 0.0, time.thread_time(), False

    async def watch():
        nonlocal longest, last
        while not done:
            await asyncio.sleep(0)
            now = time.thread_time()  # of this thread: a busy machine adds nothing
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(watch())
    await look_through(body)
    done = True
    await watching
    assert longest < 0.3, "some milliseconds on a quiet machine"


async def test_long_bodies_of_one_key_hold_up_no_other_key_and_no_short_body():
    """Keys take turns, whatever stands in their lines; short bodies pass by all of them."""
    lane, done = Lane(), []
    long = json.dumps({"messages": [{"role": "user", "content": "x"}] * 2_000}).encode()

    async def one(key, body):
        async with lane.turn(len(body), key):
            await lane.parse(body)
        done.append(key)

    hostile = [asyncio.create_task(one("hostile", long)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(one("good", long), one("short", b"{}"))
    assert done.count("hostile") <= 2
    await asyncio.gather(*hostile)
    assert done[0] == "short"
    assert len(done) == 22


async def test_a_long_body_leaves_the_loop_free_for_as_long_as_it_held_it():
    """Judging counts as well as parsing: the next long body has to wait for both."""
    lane = Lane()
    async with lane.turn(1 << 20, "a"):
        await lane.parse(b"{}")
        time.sleep(0.05)  # noqa: ASYNC251 judging holds the loop
        ended = time.monotonic()
    assert time.monotonic() - ended >= 0.045


async def test_too_many_long_bodies_at_once_are_told_to_come_back():
    """429 before a byte of them is read; room is given back."""
    lane = Lane()
    with lane.room(400 << 20, "one"):
        with pytest.raises(RefusedError) as refused, lane.room(200 << 20):
            pass
        assert refused.value.answer.status == 429
    with lane.room(400 << 20):
        pass


async def test_a_refused_body_is_read_to_its_end_after_the_answer(monkeypatch):
    """The connection is closed when nothing unread is left on it, so that no reset overtakes the
    answer. A client that waits to be asked is told to close, and a body that it sends unasked is
    dropped for a moment.
    """
    events = []
    parts = [b"x" * 1000] * 5

    async def receive():
        events.append("read")
        parts.pop()
        return {"type": "http.request", "body": b"x", "more_body": bool(parts)}

    async def send(message):
        events.append((message["type"][14:], message.get("more_body")))

    scope = {"headers": [(b"content-length", b"5000")]}
    await answer_and_drop(refuse(413, "no", "x"), scope, Incoming(receive), send)
    assert events == [("start", None), ("body", True), *["read"] * 5, ("body", None)]
    events.clear()
    whole = Incoming(receive)
    whole.ended = True
    await answer_and_drop(refuse(400, "no", "x"), scope, whole, send)
    assert events == [("start", None), ("body", None)], "nothing is left that could be waited for"
    events.clear()
    scope["headers"].append((b"expect", b"100-continue"))

    async def silent():
        await asyncio.Event().wait()

    sent = []

    async def keep(message):
        sent.append(message)

    monkeypatch.setattr("serving.request.bodies.UNASKED", 0.01)
    await answer_and_drop(refuse(413, "no", "x"), scope, Incoming(silent), keep)
    assert (b"connection", b"close") in sent[0]["headers"]
    assert [message.get("more_body") for message in sent] == [None, True, None]


CHUNKED = [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    ("headers", "parts", "status"),
    [
        (CHUNKED, 3, 413),
        (CHUNKED, 2, 429),
        ([*CHUNKED, (b"expect", b"100-continue")], 3, 429),
        ([(b"content-length", b"150")], 3, 429),
    ],
)
async def test_what_never_fits_is_413_before_a_limit_of_requests_is_told(headers, parts, status):
    """A chunked body is counted for that; a length was judged before, and a client that waits to be
    asked for its body is not asked.
    """
    busy = RefusedError(refuse(429, "busy", "rate_limit_exceeded"))
    refused = await refuse_by_size(busy, receiver(*[b"x" * 50] * parts), headers, 100)
    assert refused.answer.status == status


async def test_a_chunked_body_that_does_not_end_is_told_the_limit_of_requests(monkeypatch):
    """Nobody knows its size, and no client is kept waiting for ever."""
    monkeypatch.setattr("serving.request.bodies.SECONDS", 0.02)
    busy = RefusedError(refuse(429, "busy", "rate_limit_exceeded"))

    async def silent():
        await asyncio.Event().wait()

    assert (await refuse_by_size(busy, silent, CHUNKED, 100)).answer.status == 429


def test_one_key_gets_half_of_the_room():
    """A key that sends many large bodies leaves room for others; a single body may be larger."""
    lane = Lane(room=100)
    with lane.room(30, "greedy"), lane.room(20, "greedy"):
        with pytest.raises(RefusedError), lane.room(1, "greedy"):
            pass
        with lane.room(50, "other"), pytest.raises(RefusedError), lane.room(1, "third"):
            pass
    with lane.room(90, "greedy"):
        pass
    assert not lane._arriving
