"""A small chat beside twenty hostile clients, in turns with a quiet server: how much longer it takes.

`measure` has the real gate before an engine that only waits, so that what is measured is the gate;
hostile_vllm.py asks the same of a real replica.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.benchmarks.hostile_clients import CLIENTS, KINDS
from tests.benchmarks.report import Figure, Section, median, p99
from tests.ports import free_port
from tests.serving.replica_share import ROOT

PYTHON = ROOT / ".venv/images/vllm/bin/python"
ROUNDS, CHATS = 2, 60
WORDS, PAUSE_MS = 8, 5
TARGET = 3.0  # times the quiet server's
SETTLE = 1.0  # seconds that the hostile clients have before the first chat


@dataclass
class Timings:
    """In milliseconds, of many; `statuses` is what the hostile clients were answered."""

    chats: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    port = free_port()
    options = {
        "port": port,
        "host": "127.0.0.1",
        "keys": {"good": {}, "hostile": {}},
        "milliseconds": PAUSE_MS,
    }
    command = [str(PYTHON), "-m", "tests.serving.gate_server", json.dumps(options)]
    server = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    try:
        found = await compare(port, "good", "hostile", "m")
    finally:
        server.kill()
        await server.wait()
    notes = [f"The engine waits {PAUSE_MS} ms for each of the {WORDS} words of a chat."]
    return section("A small chat beside hostile clients, the gate alone", found, notes)


async def compare(
    port: int, good: str, hostile: str, model: str, kinds: Iterable[str] = KINDS
) -> dict[str, list[Timings]]:
    """Quiet and hostile timings of each kind."""
    url, headers = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {good}"}
    found = {}
    async with aiohttp.ClientSession(url, headers=headers) as http:
        await _warm(http, model)
        for kind in kinds:
            quiet, loud = found[kind] = [Timings(), Timings()]
            for _ in range(ROUNDS):
                await _round(http, model, quiet)
                async with _clients(kind, port, hostile, model, loud):
                    await _round(http, model, loud)
    return found


def section(title: str, found: dict[str, list[Timings]], notes: list[str]) -> Section:
    figures = [
        Figure(
            f"p99 of a small chat beside {CLIENTS} clients: {kind}",
            p99(loud.chats) / p99(quiet.chats),
            "times quiet",
            TARGET,
            "at most",
        )
        for kind, (quiet, loud) in found.items()
    ]
    columns = ("clients", "chat ms (p50)", "p99", "/live ms (p50)", "p99", "they are answered")
    rows = [
        (
            f"{kind}, {name}",
            *(each(values) for values in (one.chats, one.probes) for each in (median, p99)),
            ", ".join(f"{count} x {status}" for status, count in one.statuses.items()),
        )
        for kind, timings in found.items()
        for name, one in zip(("quiet", "hostile"), timings, strict=True)
    ]
    turns = f"{ROUNDS} rounds of {CHATS} chats, one after the other, by turns quiet and hostile."
    return Section(title, figures, columns, rows, [turns, *notes])


async def _round(http: aiohttp.ClientSession, model: str, into: Timings) -> None:
    for _ in range(CHATS):
        into.chats.append(await _chat(http, model))
        began = time.perf_counter()
        async with http.get("/live") as answer:
            assert answer.status == 200
            await answer.read()
        into.probes.append((time.perf_counter() - began) * 1000)


async def _chat(http: aiohttp.ClientSession, model: str) -> float:
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": model, "messages": messages, "max_tokens": WORDS}
    began = time.perf_counter()
    async with http.post("/v1/chat/completions", json=body) as answer:
        text = await answer.text()
        if answer.status != 200:
            raise RuntimeError(f"the small chat was refused: {answer.status} {text[:300]}")
    return (time.perf_counter() - began) * 1000


@asynccontextmanager
async def _clients(
    kind: str, port: int, key: str, model: str, into: Timings
) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "tests.benchmarks.hostile_clients"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *(kind, str(port), key, model),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        await asyncio.sleep(SETTLE)
        yield
    finally:
        output, _ = await process.communicate(b"")
    for status, count in json.loads(output).items():
        into.statuses[status] = into.statuses.get(status, 0) + count


async def _warm(http: aiohttp.ClientSession, model: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await _round(http, model, Timings())
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
            else:
                return
