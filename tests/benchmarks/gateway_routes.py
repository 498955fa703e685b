"""What the routes of 100 services cost: the daemon's look at them, one change published to a share of
the local Azure, and what a gateway spends to take the change over.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs
from reconciler.api.resources import CatalogueKey, GatewayRoutesSpec, RouteSpec, ShareRef
from reconciler.arm.ownership import Ownership
from reconciler.arm.share import Share
from reconciler.engine.external import Desired, DocumentRef, ObjectKey
from reconciler.kinds.connections import Connections
from reconciler.kinds.published_routes import PublishedRoutes
from reconciler.kinds.share.shares import Shares
from serving.catalogue import Limits
from serving.gateway.callers import Callers
from serving.gateway.directory import Directory
from serving.gateway.routes_watch import RoutesWatch
from tests.benchmarks.publish import ACCOUNT, GROUP, SHARE, connected
from tests.benchmarks.report import Figure, Section, median
from tests.kinds.known import Known

SERVICES, ADAPTERS, CHANGES = 100, 3, 7


def measure() -> Section:
    return asyncio.run(_measure())


async def _measure() -> Section:
    with tempfile.TemporaryDirectory() as folder:
        async with connected(Path(folder) / "state") as share:
            return await _costs(share, Path(folder) / "copy")


async def _costs(share: Share, copy: Path) -> Section:
    kind = PublishedRoutes(cast("Connections", _Opened(share)))
    item, facts = _desired(), _facts("0")
    await kind.create(item, facts)
    calls: dict[str, list[tuple[int, float, float]]] = {"look": [], "change": []}
    for number in range(CHANGES):
        calls["look"].append(await _timed(share, lambda: kind.observe(item, facts)))
        changed = _facts(str(number + 1))
        seen = await kind.observe(item, changed)
        assert len(seen.changes) == 2, seen.changes  # the address, and the digest of the whole

        async def change(seen: Any = seen, changed: Known = changed) -> None:
            await kind.update(item, seen, changed)

        calls["change"].append(await _timed(share, change))
    routes, names = await kind._current(item.spec)
    assert routes is not None
    assert len(routes.services) == SERVICES
    data = routes.dump()
    spent = _taken_over(data, names[-1], copy)
    rows: list[tuple[str | float, ...]] = [
        (
            f"the daemon, a {what}",
            median([float(requests) for requests, _, _ in found]),
            median([wall * 1000 for _, wall, _ in found]),
            median([cpu * 1000 for _, _, cpu in found]),
        )
        for what, found in calls.items()
    ]
    rows.append(("a gateway, a change", 0, spent[0] * 1000, spent[1] * 1000))
    figures = [
        Figure("routes of 100 services, one change", rows[1][1], "requests", 4, "at most"),  # type: ignore[arg-type]
        Figure("routes of 100 services, the file", len(data) / 1000, "kB", 200, "at most"),
    ]
    notes = [
        f"{SERVICES} services with {ADAPTERS} adapters and two keys each. A change writes the whole"
        f" file anew, {len(data) / 1000:.0f} kB; a gateway reads it once and its folder every second.",
    ]
    columns = ("what", "requests", "wall ms", "CPU ms")
    return Section("What the routes of a gateway cost", figures, columns, rows, notes)


class _Opened:
    """What PublishedRoutes takes of the connections: the one share."""

    def __init__(self, share: Share) -> None:
        self.shares = Shares(share.arm, Ownership("benchmark"))


async def _timed(share: Share, work: Callable[[], Awaitable[object]]) -> tuple[int, float, float]:
    requests, wall, cpu = share.arm.calls["files"], time.perf_counter(), time.process_time()
    await work()
    return (
        share.arm.calls["files"] - requests,
        time.perf_counter() - wall,
        time.process_time() - cpu,
    )


def _taken_over(data: bytes, name: str, folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds from the file to the caller's next request."""
    folder.mkdir()
    (folder / name).write_bytes(data)
    wall, cpu = time.perf_counter(), time.process_time()
    routes = RoutesWatch(folder, "dev").read()
    assert routes is not None
    Callers().follow(routes)
    Directory(routes)
    return time.perf_counter() - wall, time.process_time() - cpu


def _desired() -> Desired[GatewayRoutesSpec]:
    keys = (CatalogueKey("default"), CatalogueKey("team", requests_per_minute=60))
    services = tuple(
        RouteSpec(
            f"service-{number:03}",
            "0123456789ab",
            tuple(f"adapter-{number:03}-{each}" for each in range(ADAPTERS)),
            keys,
            Limits(),
            0,
            {"image": 112.0, "runtime": 57.0, "weights": 120.0},
        )
        for number in range(SERVICES)
    )
    spec = GatewayRoutesSpec(
        ShareRef("dev", GROUP, ACCOUNT, SHARE), "gw-dev", services, (CatalogueKey("default"),)
    )
    return Desired(ObjectKey(Kind.ROUTES, "dev"), DocumentRef("Environment", "dev"), spec)


def _facts(changed: str) -> Known:
    """What was seen of the container apps; the address of the first one has changed."""
    found = {
        ObjectKey(Kind.APP, f"service-{number:03}"): AppOutputs(
            "id",
            endpoint=f"https://service-{number:03}{changed if not number else ''}.example.io",
            api_keys=(("default", f"{number:064x}"), ("team", f"{number + 1000:064x}")),
        )
        for number in range(SERVICES)
    }
    found[ObjectKey(Kind.APP, "gw-dev")] = AppOutputs("id", api_keys=(("default", "a" * 64),))
    return Known(found)
