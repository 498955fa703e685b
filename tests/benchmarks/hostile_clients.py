"""Twenty clients that ask for as much work as they can, from one process that has little to do itself:
each sends the same bytes again and again and reads the answer.

    python -m tests.benchmarks.hostile_clients KIND PORT KEY MODEL    until its standard input ends

Prints how often which status came, as JSON.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

CLIENTS = 20
MIB = 1 << 20


def _chat(model: str, content: str = "hi", count: int = 1, **more: object) -> bytes:
    messages = [{"role": "user", "content": content}] * count
    return json.dumps({"model": model, "messages": messages, "max_tokens": 1, **more}).encode()


def _schema(model: str) -> bytes:
    """Near the limits of what is compiled, and another one each time: caches do not help."""
    names = {f"p{os.urandom(4).hex()}": {"type": "string", "maxLength": 9} for _ in range(600)}
    schema = {"type": "object", "properties": names}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    return _chat(model, response_format=wanted)


def _whole_context(model: str) -> bytes:
    """Another one each time, and all of it is read by the model: the cache of prefixes does not help."""
    return _chat(model, " ".join(os.urandom(2).hex() for _ in range(180)))


# What is sent, and in how large pieces (0: by length, at once).
KINDS: dict[str, tuple[Callable[[str], bytes], int]] = {
    "many messages, 250 KiB": (lambda model: _chat(model, "x", 6_400), 0),
    "many messages, 5 MiB": (lambda model: _chat(model, "x", 40_000), 0),
    "too many values, 13 MiB": (lambda model: _chat(model, "x", 400_000), 0),
    "long prompt, 250 KiB": (lambda model: _chat(model, "word " * 50_000), 0),
    "prompts of 900 letters": (_whole_context, 0),
    "long prompt, 15 MiB": (lambda model: _chat(model, "word " * (3 * MIB)), 0),
    "no JSON, 15 MiB": (lambda _model: b'{"a": "' + b'\\"' * (7 * MIB), 0),
    "too large, 20 MiB in chunks": (lambda _model: b"x" * (20 * MIB), 64 << 10),
    "schemas of 600 parts": (_schema, 0),
    "gzip of 15 MiB": (lambda model: gzip.compress(_chat(model, "a" * (15 * MIB))), 0),
}
PACKED = ("gzip of 15 MiB",)
FRESH = ("schemas of 600 parts", "prompts of 900 letters")


def _request(kind: str, key: str, model: str) -> bytes:
    make, piece = KINDS[kind]
    body = make(model)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    head += "content-type: application/json\r\n"
    head += "content-encoding: gzip\r\n" if kind in PACKED else ""
    if not piece:
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    parts = [body[at : at + piece] for at in range(0, len(body), piece)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return f"{head}transfer-encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"


async def _attack(kind: str, port: int, key: str, model: str, counted: Counter[str]) -> None:
    request = _request(kind, key, model)
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            try:
                while True:
                    if kind in FRESH:
                        request = _request(kind, key, model)
                    writer.write(request)
                    await _answer(reader, counted)
            finally:
                writer.close()
        counted["connection lost"] += 1
        await asyncio.sleep(0.01)


async def _answer(reader: asyncio.StreamReader, counted: Counter[str]) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    counted[head.split()[1]] += 1
    length = next(line[15:] for line in head.splitlines() if line.startswith("content-length:"))
    await reader.readexactly(int(length))


async def _main(kind: str, port: int, key: str, model: str) -> None:
    counted: Counter[str] = Counter()
    attacks = [_attack(kind, port, key, model, counted) for _ in range(CLIENTS)]
    attacking = asyncio.gather(*attacks)
    await asyncio.to_thread(sys.stdin.read)
    attacking.cancel()
    with suppress(asyncio.CancelledError):
        await attacking
    print(json.dumps(counted))


if __name__ == "__main__":
    # These clients have machines of their own: theirs is the CPU time that nobody else wants.
    os.nice(19)
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
