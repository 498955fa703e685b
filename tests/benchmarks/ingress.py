"""What the ingress costs: time to first byte and total of a token stream, direct and through it, with 1 and 32 clients.

Direct means plain HTTP on a socket of the replica's own network namespace.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from infra.local_azure.runtime.connector import ReplicaConnector
from infra.local_azure.runtime.shim_client import ShimClient
from tests.benchmarks.report import Section, median, p95
from tests.local_azure.stage import Stage, stage

_CHUNKS, _PAUSE_S, _ROUNDS = 50, 0.01, 5
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
_READY = ({"type": "Startup", "tcpSocket": {"port": 8000}, "periodSeconds": 0.1, "failureThreshold": 200},)

Timing = tuple[float, float]
Row = tuple[str | float, ...]


def measure() -> Section:
    rows, socket = asyncio.run(_measure())
    columns = ("what", "first byte ms (p50)", "p95", "total ms (p50)", "p95")
    notes = [f"A stream is {_CHUNKS} chunks, {_PAUSE_S * 1000:.0f} ms apart; 1 and 32 clients at a time.", socket]
    return Section("What the ingress costs", (), columns, rows, notes)


async def _measure() -> tuple[list[Row], str]:
    with tempfile.TemporaryDirectory() as folder:
        async with stage(Path(folder)) as scene:
            scene.scheduler.set_workloads([scene.workload(image="aiohttp:1", command=("python3", "-c", _SERVER), probes=_READY)])
            replica = (await scene.healthy()).replicas[0]
            rows = []
            shim = ShimClient(scene.folder / "replicas" / replica.name / "shim.sock")
            await shim.connect()
            direct = aiohttp.ClientSession("http://replica", connector=ReplicaConnector(shim, 8000))
            async with direct, scene.client() as proxied:
                await _warm(scene, direct, proxied)
                for path, call in (("POST small", _small), ("stream", _stream)):
                    for clients in (1, 32):
                        for name, session in (("direct", direct), ("ingress", proxied)):
                            rows.append(_row(f"{path} x{clients} {name}", await _run(session, call, clients)))
                socket = await _socket_cost(shim)
            shim.close()
    return rows, socket


async def _run(
    session: aiohttp.ClientSession, call: Callable[[aiohttp.ClientSession], Awaitable[Timing]], clients: int
) -> list[Timing]:
    timings: list[Timing] = []
    for _ in range(_ROUNDS if clients > 1 else _ROUNDS * 4):
        timings += await asyncio.gather(*(call(session) for _ in range(clients)))
    return timings


async def _stream(session: aiohttp.ClientSession) -> Timing:
    began = time.perf_counter()
    async with session.get("/stream") as response:
        await response.content.readany()
        first = time.perf_counter() - began
        await response.read()
    return first, time.perf_counter() - began


async def _small(session: aiohttp.ClientSession) -> Timing:
    began = time.perf_counter()
    async with session.post("/small", json={"prompt": "x" * 200}) as response:
        await response.read()
    return time.perf_counter() - began, time.perf_counter() - began


async def _warm(scene: Stage, *sessions: aiohttp.ClientSession) -> None:
    for session in sessions:
        for _ in range(200):
            try:
                await _small(session)
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


async def _socket_cost(shim: ShimClient) -> str:
    """What a connection costs beyond connect(2): the socket that the shim hands over (four at a time)."""
    timings = []
    for _ in range(200):
        began = time.perf_counter()
        (await shim.socket()).close()
        timings.append(time.perf_counter() - began)
    return f"A socket from the shim: mean {statistics.mean(timings) * 1000:.3f} ms, worst {max(timings) * 1000:.3f} ms"


def _row(name: str, timings: list[Timing]) -> Row:
    columns = []
    for values in zip(*timings, strict=True):
        columns += [median(values) * 1000, p95(values) * 1000]
    return (name, *columns)
