"""What the local Azure itself costs: requests per second and their time for ARM GET, LIST and PUT,
and for file ranges up and down.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from tests.benchmarks.azure import ACCOUNT, Arm, app_body, arm, signed
from tests.benchmarks.report import Section, median, p95

APPS = 100
RANGE = 4 * 1024 * 1024  # the most that one request may write
_SECONDS = 3.0
_EMPTY = "cloud metadata"
Act = Callable[[int], Awaitable[None]]
Row = tuple[str | float, ...]


def measure() -> Section:
    rows = asyncio.run(_measure())
    notes = [
        (
            f"{APPS} apps in the group, each without a replica. Raw HTTPS without an SDK; client"
            " and server share this machine."
        ),
        (
            f"`times` compares the median with that of the answer which costs nothing ({_EMPTY})"
            " with as many clients."
        ),
        (
            "PUT is the request alone, not the operation that it begins; each goes to another app"
            " than the one before."
        ),
    ]
    empty = {clients: p50 for name, clients, _, p50, *_ in rows if name == _EMPTY}
    shown = [(*row, float(row[3]) / float(empty[row[1]])) for row in rows]
    columns = ("what", "clients", "requests a second", "ms (p50)", "p95", "MB/s", "times")
    return Section("What the local Azure costs", (), columns, shown, notes)


async def _measure() -> list[Row]:
    async with arm() as azure:
        environment = await azure.lay_ground()
        body = app_body(environment, command=["true"], minimum=0)
        del body["properties"]["configuration"]["ingress"]
        for number in range(APPS):
            await azure.call("PUT", azure.app(f"app-{number}"), body)
            await azure.call("POST", f"{azure.app(f'app-{number}')}/stop")
        rows = []
        for name, act in (
            (_EMPTY, _get(azure, "/metadata/endpoints")),
            ("ARM GET", _get(azure, azure.app("app-1"))),
            (f"ARM LIST of {APPS}", _get(azure, azure.app("").rstrip("/"))),
            ("ARM PUT", _put(azure, body)),
        ):
            rows += [await _row(name, clients, act, 0) for clients in (1, 16)]
        key = await azure.key()
        await _file(azure, key)
        for name, act in (("range up", _up(azure, key)), ("range down", _down(azure, key))):
            rows += [
                await _row(f"{name}, {RANGE >> 20} MiB", clients, act, RANGE) for clients in (1, 16)
            ]
        return rows


async def _row(name: str, clients: int, act: Act, size: int) -> Row:
    """`clients` loops for a few seconds."""
    timings: list[float] = []
    end = time.perf_counter() + _SECONDS

    async def loop(client: int) -> None:
        turn = client
        while time.perf_counter() < end:
            began = time.perf_counter()
            await act(turn)
            timings.append(time.perf_counter() - began)
            turn += clients

    began = time.perf_counter()
    await asyncio.gather(*(loop(client) for client in range(clients)))
    rate = len(timings) / (time.perf_counter() - began)
    return (
        name,
        float(clients),
        rate,
        median(timings) * 1000,
        p95(timings) * 1000,
        rate * size / 1e6,
    )


def _get(azure: Arm, path: str) -> Act:
    async def act(_turn: int) -> None:
        async with azure.session.get(path, params={"api-version": "2024-03-01"}) as answer:
            assert answer.status == 200
            await answer.read()

    return act


def _put(azure: Arm, body: object) -> Act:
    async def act(turn: int) -> None:
        async with azure.session.put(
            azure.app(f"app-{turn % APPS}"), params={"api-version": "2024-03-01"}, json=body
        ) as answer:
            assert answer.status in {
                201,
                409,
            }, await answer.text()  # 409: the operation of the last round still runs
            await answer.read()

    return act


async def _file(azure: Arm, key: str) -> None:
    path = f"/{ACCOUNT}/bench/file.bin"
    headers = signed("PUT", path, key, {"x-ms-type": "file", "x-ms-content-length": str(4 * RANGE)})
    async with azure.session.put(
        path, headers=headers, skip_auto_headers=("Content-Type",)
    ) as answer:
        assert answer.status == 201, await answer.text()


def _up(azure: Arm, key: str) -> Act:
    path, data = f"/{ACCOUNT}/bench/file.bin", os.urandom(RANGE)

    async def act(turn: int) -> None:
        first = turn % 4 * RANGE
        given = {
            "x-ms-range": f"bytes={first}-{first + RANGE - 1}",
            "x-ms-write": "update",
            "Content-Type": "application/octet-stream",
        }
        headers = signed("PUT", path, key, given, length=RANGE, query="comp=range")
        async with azure.session.put(
            path, params={"comp": "range"}, headers=headers, data=data
        ) as answer:
            assert answer.status == 201, await answer.text()

    return act


def _down(azure: Arm, key: str) -> Act:
    path = f"/{ACCOUNT}/bench/file.bin"

    async def act(turn: int) -> None:
        first = turn % 4 * RANGE
        headers = signed("GET", path, key, {"x-ms-range": f"bytes={first}-{first + RANGE - 1}"})
        async with azure.session.get(path, headers=headers) as answer:
            assert answer.status == 206, await answer.text()
            assert len(await answer.read()) == RANGE

    return act
