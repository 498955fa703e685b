"""What the ingress costs: a token stream direct and through it, with 1 and 32 clients, alone and
with ARM work going on beside.

Direct means plain HTTP on a socket of the replica's own network namespace. Direct and proxied
rounds take turns, so that whatever else this machine does weighs on both.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from infra.local_azure.runtime.connector import ReplicaConnector
from infra.local_azure.runtime.shim_client import ShimClient
from tests.benchmarks.azure import Arm, app_body, arm
from tests.benchmarks.report import Figure, Section, median, p95

_CHUNKS, _PAUSE_S = 50, 0.01
_ROUNDS = {1: 60, 32: 8}
_SERVER = f"""
import asyncio
from aiohttp import web
async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for index in range({_CHUNKS}):
        await response.write(b"data: token\\n\\n")
        await asyncio.sleep({_PAUSE_S})
    return response
async def small(request):
    return web.json_response(await request.json())
app = web.Application()
app.add_routes([web.get("/stream", stream), web.post("/small", small)])
web.run_app(app, port=8000, access_log=None, print=None)
"""
_READY = [
    {"type": "Startup", "tcpSocket": {"port": 8000}, "periodSeconds": 1, "failureThreshold": 200}
]
# Reads and writes as fast as Azure would let one caller go on doing: buckets are refilled with 25
# reads and 10 writes a second.
_READS, _WRITES = 25, 10
Row = tuple[str | float, ...]


@dataclass
class Timings:
    """Of many streams, in milliseconds: to the first token, in total, and between two tokens."""

    first: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


def measure() -> Section:
    found, socket = asyncio.run(_measure())
    alone, beside = found["alone"], found["ARM work beside"]
    first = statistics.median(alone[1]["ingress"].first) - statistics.median(
        alone[1]["direct"].first
    )
    total = (
        statistics.median(alone[32]["ingress"].total) / statistics.median(alone[32]["direct"].total)
        - 1
    )
    late = p95(beside[1]["ingress"].gaps) - p95(beside[1]["direct"].gaps)
    figures = [
        Figure("ingress, first token of one stream", first, "ms more", 1.5, "at most"),
        Figure("ingress, total of 32 streams", total * 100, "% more", 10, "at most"),
        Figure(
            "ingress, gap between tokens (p95) with ARM work beside",
            late,
            "ms more",
            1.5,
            "at most",
        ),
    ]
    columns = (
        "streams",
        "first token ms (p50)",
        "p95",
        "total ms (p50)",
        "p95",
        "between tokens ms (p50)",
        "p95",
    )
    rows = [
        (f"{clients} {how}, {name}", *_columns(timings[how]))
        for name, counts in found.items()
        for clients, timings in counts.items()
        for how in ("direct", "ingress")
    ]
    notes = [
        (
            f"A stream is {_CHUNKS} chunks, {_PAUSE_S * 1000:.0f} ms apart; direct and proxied"
            " rounds take turns."
        ),
        (
            "What is `more` is a difference of medians (of p95s for the gap). The client's own TLS"
            " is part of it."
        ),
        (
            f"ARM work: a process of its own lists and gets {_READS} times and writes {_WRITES}"
            " times a second."
        ),
        socket,
    ]
    return Section("What the ingress costs", figures, columns, rows, notes)


async def _measure() -> tuple[dict[str, dict[int, dict[str, Timings]]], str]:
    async with arm() as azure:
        body = app_body(await azure.lay_ground(), command=["python3", "-c", _SERVER], minimum=1)
        body["properties"]["template"]["containers"][0]["probes"] = _READY
        await azure.call("PUT", azure.app("web"), body)
        async with _direct(azure) as (shim, direct), _proxied(azure) as proxied:
            await _warm(direct, proxied)
            found = {"alone": await _both(direct, proxied)}
            async with _work(azure):
                found["ARM work beside"] = await _both(direct, proxied)
            return found, await _socket_cost(shim)


async def _both(
    direct: aiohttp.ClientSession, proxied: aiohttp.ClientSession
) -> dict[int, dict[str, Timings]]:
    """Rounds of streams, direct and proxied by turns."""
    found = {}
    for clients, rounds in _ROUNDS.items():
        found[clients] = timings = {"direct": Timings(), "ingress": Timings()}
        for turn in range(rounds):
            pair = [(direct, timings["direct"]), (proxied, timings["ingress"])]
            for session, into in pair if turn % 2 else reversed(pair):
                await asyncio.gather(*(_stream(session, into) for _ in range(clients)))
    return found


async def _stream(session: aiohttp.ClientSession, into: Timings) -> None:
    began = time.perf_counter()
    async with session.get("/stream") as response:
        assert response.status == 200
        arrivals = [time.perf_counter() async for _ in response.content.iter_any()]
    into.first.append((arrivals[0] - began) * 1000)
    last = time.perf_counter()
    into.total.append((last - began) * 1000)
    into.gaps += [(after - before) * 1000 for before, after in itertools.pairwise(arrivals)]


@asynccontextmanager
async def _direct(azure: Arm) -> AsyncIterator[tuple[ShimClient, aiohttp.ClientSession]]:
    """A session on the replica's own sockets."""
    async with asyncio.timeout(60):
        while not (sockets := [*(azure.azure.state / "replicas").glob("*/shim.sock")]):
            await asyncio.sleep(0.05)
    shim = ShimClient(sockets[0])
    await shim.connect()
    async with aiohttp.ClientSession(
        "http://replica", connector=ReplicaConnector(shim, 8000)
    ) as session:
        yield shim, session
    shim.close()


@asynccontextmanager
async def _proxied(azure: Arm) -> AsyncIterator[aiohttp.ClientSession]:
    app = await azure.call("GET", azure.app("web"))
    connector = aiohttp.TCPConnector(ssl=azure.azure.tls(), limit=0)
    endpoint = f"https://{app['properties']['configuration']['ingress']['fqdn']}"
    async with aiohttp.ClientSession(endpoint, connector=connector) as session:
        yield session


@asynccontextmanager
async def _work(azure: Arm) -> AsyncIterator[None]:
    """A process that keeps Resource Manager busy."""
    token = azure.session.headers["Authorization"]
    arguments = (azure.azure.endpoint, azure.azure.facts["caFile"], token, azure.group)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.arm_work", *arguments
    )
    try:
        await asyncio.sleep(2)  # it has imported what it needs
        yield
        assert worker.returncode is None, "the ARM work ended early"
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()


async def _warm(*sessions: aiohttp.ClientSession) -> None:
    """Until the replica listens, the ingress knows it, and everything was used once."""
    for session in sessions:
        async with asyncio.timeout(60):
            for _ in range(50):
                while not await _small(session):
                    await asyncio.sleep(0.05)


async def _small(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.post("/small", json={"prompt": "x" * 200}) as response:
            await response.read()
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _socket_cost(shim: ShimClient) -> str:
    """What a connection costs beyond connect(2): the socket that the shim hands over (four at a
    time).
    """
    timings = []
    for _ in range(200):
        began = time.perf_counter()
        (await shim.socket()).close()
        timings.append(time.perf_counter() - began)
    return (
        f"A socket from the shim: mean {statistics.mean(timings) * 1000:.3f} ms, worst"
        f" {max(timings) * 1000:.3f} ms"
    )


def _columns(timings: Timings) -> Sequence[float]:
    return [
        figure(values)
        for values in (timings.first, timings.total, timings.gaps)
        for figure in (median, p95)
    ]
