"""Reads a request's body for the gate: bounded in bytes, time, values and depth, unpacked from
gzip, and parsed without blocking the event loop. The rest of a refused body is read and dropped.

Pure ASGI; gate.py calls it, limits.py judges what was parsed.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any

from serving.request.answers import Answer, Message, Send, refuse, too_large
from serving.untrusted import DEPTH, VALUES, Shape, UntrustedError

Receive = Callable[[], Awaitable[Message]]
SECONDS = 60.0  # for a body to arrive, or to be dropped
UNASKED = 2.0  # the same for one whose client waits to be asked for it
# Reading and judging a body of this size blocks the event loop for less than a millisecond. Longer
# bodies are judged one at a time, and are counted in slices before they are parsed.
SLICE = 16 << 10
_PACED = 256 << 10  # bytes from which on a body is read at a limited pace
_DROPPED = 64 << 20
_RATE = 32 << 20  # bytes a second of all long bodies
ROOM = 512 << 20  # bytes of all bodies that are being read
CLOSE = (b"connection", b"close")
_SLICE = 8 << 10
_HELD = 0.002  # longest time in seconds for which `look_through` blocks the event loop


class RefusedError(Exception):
    """The body is refused; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


class Incoming:
    """A request's ASGI messages. `ended` is set once the whole body has arrived; receiving again
    would wait until the client disconnects. `asked` is set once a body was asked for, which the
    server tells a client that waits to be asked.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = self.asked = False

    async def __call__(self) -> Message:
        self.asked = True
        message = await self._receive()
        self.ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message


class Pace:
    """Limits how fast all long bodies together are parsed, because parsing blocks the event loop
    that answers every request.
    """

    def __init__(self, rate: float = _RATE) -> None:
        self._rate, self._free = rate, 0.0

    async def take(self, size: int) -> None:
        now = time.monotonic()
        self._free = max(self._free, now) + size / self._rate
        await asyncio.sleep(self._free - now)


PACE = Pace()


class Lane:
    """A fair queue in which long bodies are judged one at a time, the keys taking turns. After each
    body the event loop stays free for as long as the body took. Short bodies do not wait here.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._turn = asyncio.Lock()
        self._lines: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._arriving: Counter[str] = Counter()
        self._held_since = 0.0

    @contextmanager
    def room(self, size: int, whose: str = "") -> Iterator[None]:
        """Reserve memory for a body that is read or waits for its turn; one key gets half of it at
        most, unless it is for one body. Raises RefusedError when there are too many of them.
        """
        mine = self._arriving[whose]
        if self._arriving.total() + size > self._room or (mine and mine + size > self._room // 2):
            text = "Too many large requests are arriving at once; try again in 1 s."
            raise RefusedError(refuse(429, text, "rate_limit_exceeded", (b"retry-after", b"1")))
        self._arriving[whose] += size
        try:
            yield
        finally:
            self._arriving[whose] -= size
            if not self._arriving[whose]:
                del self._arriving[whose]

    @asynccontextmanager
    async def turn(self, size: int, whose: str) -> AsyncIterator[None]:
        """Wait until a body of this key may be judged. Inside the block, `parse` the body and judge
        its value without awaiting anything else.
        """
        if size <= SLICE:
            yield
            return
        async with self._lines[whose], self._turn:
            self._held_since = time.monotonic()
            try:
                yield
            finally:
                await asyncio.sleep(time.monotonic() - self._held_since)

    async def parse(self, body: bytes) -> Any:
        """The body's JSON value.

        Raises:
            RefusedError: it holds too many values, or is nested too deeply.
            ValueError: it is no JSON.
        """
        await look_through(body)
        self._held_since = time.monotonic()
        return _parsed(body)


async def read(receive: Receive, headers: list[tuple[bytes, bytes]], limit: int) -> bytes:
    """The whole body, unpacked.

    Raises:
        RefusedError: it is too long, arrives too slowly, or has an unknown encoding.
        ConnectionError: the client has left.
    """
    packed = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    unpack = None
    if packed and packed != [b"identity"]:
        if packed != [b"gzip"]:
            text = "A request body may be compressed with gzip only."
            raise RefusedError(refuse(415, text, "unsupported_content_encoding"))
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        # For the whole body: a client that sends a byte a minute would hold a place for ever.
        async with asyncio.timeout(SECONDS):
            return await _read(receive, limit, unpack)
    except TimeoutError:
        text = f"The request body did not arrive within {SECONDS:.0f} s."
        raise RefusedError(refuse(408, text, "request_timeout", CLOSE)) from None
    except zlib.error:
        text = "The request body is not valid gzip."
        raise RefusedError(refuse(400, text, "invalid_body")) from None


async def _read(receive: Receive, limit: int, unpack: Any) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if size > _PACED:
            await PACE.take(len(message.get("body", b"")))
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client has left")
        part, more = message.get("body", b""), message.get("more_body", False)
        while part:
            # One byte beyond the limit is enough to refuse it, so that a gzip bomb is never
            # unpacked whole.
            plain = part if unpack is None else unpack.decompress(part, limit - size + 1)
            part = b"" if unpack is None else unpack.unconsumed_tail
            parts.append(plain)
            size += len(plain)
            if size > limit:
                raise RefusedError(too_large(limit))
    if unpack is not None and not unpack.eof:
        raise zlib.error("cut")
    return b"".join(parts)


async def refuse_by_size(
    error: RefusedError, receive: Receive, headers: list[tuple[bytes, bytes]], limit: int
) -> RefusedError:
    """The refusal of a body that was not read: `error`, or that it is too large. A client that is
    told to come back would send a body that never fits again and again.

    A body of unknown length is read and dropped for that, which takes no room; a client that waits
    to be asked for its body is not asked.
    """
    names = {name for name, _ in headers}
    if b"transfer-encoding" not in names or b"expect" in names:
        return error
    size, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while more and size <= limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError("the client has left")
                size += len(message.get("body", b""))
                await PACE.take(len(message.get("body", b"")) if size > _PACED else 0)
                more = message.get("more_body", False)
    return RefusedError(too_large(limit)) if size > limit else error


async def answer_and_drop(
    answer: Answer, scope: MutableMapping[str, Any], receive: Incoming, send: Send
) -> None:
    """Send the answer, then read and drop what is left of the body before the connection closes.

    A connection that is closed with unread bytes is reset, and the client, or a proxy in between,
    sees the reset instead of the answer: a 503 that clients try again.
    """
    headers = dict(scope["headers"])
    arriving = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    if not arriving or receive.ended:
        await answer(send)
        return
    seconds = SECONDS
    if b"expect" in headers and not receive.asked:
        # Such a client sends its body when it is asked, and may also send it unasked after a
        # moment. What comes next on this connection is therefore unclear.
        answer, seconds = replace(answer, headers=(*answer.headers, CLOSE)), UNASKED
    parts: list[Message] = []

    async def collect(message: Message) -> None:
        parts.append(message)

    await answer(collect)
    start, body = parts
    await send(start)
    await send(
        {**body, "more_body": True}
    )  # the client has the whole answer already, because its length is in the headers
    dropped, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while more and dropped < _DROPPED:
                message = await receive()
                size = len(message.get("body", b""))
                dropped += size
                await PACE.take(size if dropped > _PACED else 0)
                more = message["type"] == "http.request" and message.get("more_body", False)
    await send({"type": "http.response.body", "body": b""})


async def look_through(body: bytes) -> None:
    """Refuse a body that would keep json.loads, or vLLM after it, busy for long."""
    shape, began = Shape(), time.monotonic()
    for at in range(0, len(body), _SLICE):
        try:
            shape.take(body[at : at + _SLICE])
        except UntrustedError:
            raise RefusedError(_too_complex()) from None
        held = time.monotonic() - began
        if held > _HELD and len(body) > SLICE:
            await asyncio.sleep(held)
            began = time.monotonic()


def _too_complex() -> Answer:
    text = f"The request body holds more than {VALUES} values, or nests deeper than {DEPTH} levels."
    return refuse(400, text, "request_too_complex")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise RefusedError(_too_complex()) from None
