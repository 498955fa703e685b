"""What a gateway costs and what it holds: a token stream direct and through it, requests per second
of CPU, 500 callers of a service that sleeps, and the memory of 1,000 that wait.

Direct and proxied rounds take turns. Gateway, service and callers are three processes on loopback.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from serving.catalogue import ApiKey
from serving.gateway.routes import GatewayRoutes, HoldLimits, RoutedModel, RoutedService
from tests.benchmarks import gateway_litellm
from tests.benchmarks.process import cpu_seconds, memory
from tests.benchmarks.report import Figure, Section, median, p95
from tests.ports import free_port

_CHUNKS, _PAUSE_S = 50, 0.01
_ROUNDS = {1: 60, 32: 8}
_HERD, _HELD, _PLAIN = 500, 1000, 3000
_APART_S = 0.01  # callers nearer to each other than this may reach a busy gateway in another order
_KEY = "sk-benchmark"
# Sleeps until somebody asks for /wake; numbers the requests in the order in which they come.
_SERVER = f"""
import asyncio, json, sys
from aiohttp import web
awake, seen, asked = asyncio.Event(), [], []
async def handle(request):
    if request.path == "/wake":
        awake.set()
        return web.json_response({{}})
    if request.path == "/sleep":
        awake.clear(); seen.clear(); asked.clear()
        return web.json_response({{}})
    if request.path == "/seen":
        return web.json_response({{"seen": seen, "asked": len(asked)}})
    if request.path == "/ready":
        asked.append(1)
    await awake.wait()
    if request.path == "/ready":
        return web.json_response({{}})
    if request.method != "POST":  # a proxy that looks around
        return web.json_response({{}})
    body = await request.json()
    if not body.get("stream"):
        seen.append(body.get("number"))
        message = {{"role": "assistant", "content": "token"}}
        choice = {{"index": 0, "finish_reason": "stop", "message": message}}
        usage = {{"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}}
        head = {{"id": "1", "object": "chat.completion", "created": 1, "model": "phi"}}
        return web.json_response({{**head, "choices": [choice], "usage": usage}})
    response = web.StreamResponse(headers={{"content-type": "text/event-stream"}})
    await response.prepare(request)
    for index in range({_CHUNKS}):
        await response.write(b'data: {{"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "phi", "choices": [{{"index": 0, "delta": {{"content": "token"}}}}]}}\\n\\n')
        await asyncio.sleep({_PAUSE_S})
    return response
async def main():
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), backlog=2048).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


@dataclass
class StreamTimes:
    """Of many streams, in milliseconds: to the first token and in total."""

    first: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)


@dataclass
class HeldFound:
    """What a herd of callers of a sleeping service met."""

    wakes: int
    answered: int
    in_order: float
    seconds: float
    mib_per_thousand: float


@dataclass(frozen=True)
class Ends:
    """Sessions to both, the gateway's process, the service's address, a folder for files."""

    direct: aiohttp.ClientSession
    proxied: aiohttp.ClientSession
    gateway: int
    service: str
    folder: Path


def measure() -> Section:
    times, per_core, held, beside = asyncio.run(_measure())
    first = median(times[1]["gateway"].first) - median(times[1]["direct"].first)
    total = median(times[32]["gateway"].total) / median(times[32]["direct"].total) - 1
    figures = [
        Figure("gateway, first token of one stream", first, "ms more", 1.5, "at most"),
        Figure("gateway, total of 32 streams", total * 100, "% more", 5, "at most"),
        Figure(f"gateway, wakes of a herd of {_HERD}", held.wakes, "", 1, "at most"),
        Figure("gateway, answered of the herd", held.answered / _HERD * 100, "%", 100, "at least"),
        Figure(
            "gateway, herd reached the service in order", held.in_order * 100, "%", 99, "at least"
        ),
        Figure("gateway, herd answered after ready", held.seconds, "s", 2, "at most"),
    ]
    columns = ("streams", "first token ms (p50)", "p95", "total ms (p50)", "p95")
    rows = [
        (f"{clients} {how}", *(of(each) for each in (one.first, one.total) for of in (median, p95)))
        for clients, pair in times.items()
        for how, one in pair.items()
    ]
    notes = [
        f"A stream is {_CHUNKS} chunks, {_PAUSE_S * 1000:.0f} ms apart; rounds take turns.",
        f"Plain requests: {per_core:.0f} for a second of the gateway's CPU.",
        *beside,
        f"{_HELD} streams that wait, with a comment every 5 s: {held.mib_per_thousand:.0f} MB more.",
        "`In its order`: the share of neighbours of the herd that reached the service as they came.",
    ]
    return Section("What a gateway costs and holds", figures, columns, rows, notes)


async def _measure() -> tuple[dict[int, dict[str, StreamTimes]], float, HeldFound, list[str]]:
    async with _ends() as ends:
        await ends.direct.get("/wake")
        times: dict[int, dict[str, StreamTimes]] = {}
        for clients, rounds in _ROUNDS.items():
            times[clients] = pair = {"direct": StreamTimes(), "gateway": StreamTimes()}
            both = [(ends.direct, pair["direct"]), (ends.proxied, pair["gateway"])]
            for session, _ in both:
                await _stream(session, StreamTimes())
            for turn in range(rounds):
                for session, into in both if turn % 2 else reversed(both):
                    await asyncio.gather(*(_stream(session, into) for _ in range(clients)))
        per_core = await _per_core(ends)
        beside = await _beside(ends, times)
        return times, per_core, await _held(ends), beside


async def _beside(ends: Ends, times: dict[int, dict[str, StreamTimes]]) -> list[str]:
    """litellm's proxy before the same service, in turns with the gateway."""
    async with gateway_litellm.proxy(ends.service, _KEY, ends.folder) as found:
        if found is None:
            return [gateway_litellm.ABSENT]
        address, pid = found
        async with _session(address) as session:
            for _ in range(20):
                await _plain(session, 0)
            pair = times[1]
            pair["litellm"], pair["gateway again"] = StreamTimes(), StreamTimes()
            for _ in range(_ROUNDS[1] // 2):
                await _stream(session, pair["litellm"])
                await _stream(ends.proxied, pair["gateway again"])
            told = []
            for name, end, process in (
                ("the gateway", ends.proxied, ends.gateway),
                ("litellm's proxy, one worker", session, pid),
            ):
                rate, per_core = await gateway_litellm.plain(end, process, _body(), 600, 32)
                told.append(
                    f"Plain requests through {name}: {rate:.0f} a second, 32 at a time;"
                    f" {per_core:.0f} for a second of its CPU."
                )
            return told


async def _stream(session: aiohttp.ClientSession, into: StreamTimes) -> None:
    began = time.perf_counter()
    async with session.post("/v1/chat/completions", json=_body(stream=True)) as answer:
        assert answer.status == 200, await answer.text()
        arrivals = [time.perf_counter() async for _ in answer.content.iter_any()]
    into.first.append((arrivals[0] - began) * 1000)
    into.total.append((time.perf_counter() - began) * 1000)


async def _per_core(ends: Ends) -> float:
    """Plain requests that the gateway takes for a second of its CPU, 32 at a time."""
    left = iter(range(_PLAIN))

    async def caller() -> None:
        for number in left:
            assert await _plain(ends.proxied, number) == 200

    before = cpu_seconds(ends.gateway)
    await asyncio.gather(*(caller() for _ in range(32)))
    return _PLAIN / (cpu_seconds(ends.gateway) - before)


async def _plain(session: aiohttp.ClientSession, number: int) -> int:
    async with session.post("/v1/chat/completions", json=_body(number=number)) as answer:
        await answer.read()
        return answer.status


async def _held(ends: Ends) -> HeldFound:
    """First a thousand streams that wait and leave, then the herd."""
    await ends.direct.get("/sleep")
    await asyncio.sleep(31)  # until the gateway no longer trusts the last answer
    before = memory(ends.gateway)[0]
    waiting = [asyncio.create_task(_stream(ends.proxied, StreamTimes())) for _ in range(_HELD)]
    await asyncio.sleep(8)
    mib = memory(ends.gateway)[0] - before
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.sleep(1)
    herd = []
    for number in range(_HERD):
        herd.append(asyncio.create_task(_plain(ends.proxied, number)))
        await asyncio.sleep(_APART_S)
    await asyncio.sleep(1)
    began = time.perf_counter()
    await ends.direct.get("/wake")
    statuses = await asyncio.gather(*herd)
    seconds = time.perf_counter() - began
    async with ends.direct.get("/seen") as answer:
        told = await answer.json()
    order = told["seen"]
    ordered = statistics.fmean(b > a for a, b in itertools.pairwise(order))
    return HeldFound(told["asked"], statuses.count(200), ordered, seconds, mib)


def _body(**more: object) -> dict[str, object]:
    return {"model": "phi", "messages": [{"role": "user", "content": "x" * 200}], **more}


@asynccontextmanager
async def _ends() -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = free_port(), free_port()
        await stack.enter_async_context(_process("-c", _SERVER, str(ports[0])))
        _publish(folder, f"http://127.0.0.1:{ports[0]}")
        arguments = ("--share", folder, "--environment", "dev", "--data", folder / "data")
        gateway = await stack.enter_async_context(
            _process("-m", "serving.gateway", *map(str, arguments), "--port", str(ports[1]))
        )
        sessions = []
        for port in ports:
            session = _session(f"http://127.0.0.1:{port}")
            sessions.append(await stack.enter_async_context(session))
            await _listens(session, "/seen" if port == ports[0] else "/ready")
        yield Ends(*sessions, gateway, f"http://127.0.0.1:{ports[0]}", folder)


def _session(address: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        address,
        headers={"authorization": f"Bearer {_KEY}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=300),
    )


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        yield process.pid
    finally:
        process.kill()
        await process.wait()


async def _listens(session: aiohttp.ClientSession, path: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get(path) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


def _publish(folder: Path, endpoint: str) -> None:
    key = ApiKey(name="benchmark", sha256=hashlib.sha256(_KEY.encode()).hexdigest())
    service = RoutedService(name="phi", endpoint=endpoint, models=(RoutedModel(name="phi"),))
    hold = HoldLimits(max_requests=_HELD)
    routes = GatewayRoutes(
        environment="dev", generation=1, services=(service,), keys=(key,), hold=hold
    )
    target = folder / "gateway" / "dev" / "routes"
    target.mkdir(parents=True)
    (target / routes.file_name).write_bytes(routes.dump())
