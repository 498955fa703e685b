"""The ingress's table: apps, revisions with weights, ready replicas, and the requests each is
serving now.

`control` replaces the whole table; replicas that stay keep their connections, those that go finish
what they serve.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local_azure.faults.fault_store import FaultStore

from .upstream import Upstream


@dataclass
class Revision:
    """A revision of an app. `hold`: requests wait for its first replica (scaled to zero) instead of
    failing.
    """

    name: str
    key: str = ""
    labels: tuple[str, ...] = ()
    weight: int = 0
    hold: bool = False
    replicas: list[Upstream] = field(default_factory=list)
    in_flight: int = 0
    waiting: int = 0


@dataclass
class App:
    """One app with its own loopback port.

    `sticky`: a client comes back to the replica it had; `allow_insecure`: HTTP too; `tcp`: bytes
    pass as they are.
    """

    name: str
    port: int
    sticky: bool = False
    allow_insecure: bool = False
    tcp: bool = False
    revisions: dict[str, Revision] = field(default_factory=dict)

    def choose(self, host: str) -> Revision | None:
        """The revision that `host` names (`{app}---{label}.…`, `{revision}.…`), else one by weight;
        None when there is none.
        """
        first = host.partition(":")[0].partition(".")[0].lower()
        if "--" in first:
            label = first.removeprefix(f"{self.name}---")
            named = (
                revision
                for revision in self.revisions.values()
                if label in revision.labels or first == revision.name
            )
            return next(named, None)
        weighted = [revision for revision in self.revisions.values() if revision.weight > 0]
        if len(weighted) < 2:
            return weighted[0] if weighted else None
        return random.choices(weighted, [revision.weight for revision in weighted])[0]


class Table:
    """All routes, by port. `changed` is set and replaced at every change, for requests that wait
    for a replica.
    """

    def __init__(self) -> None:
        self.apps: dict[int, App] = {}
        self.timeout_s = 240.0
        self.azure: int | None = None  # the port of ARM and login
        self.faults: FaultStore | None = None
        self._changed = asyncio.Event()
        self._upstreams: dict[tuple[str, int], Upstream] = {}
        self._retired: list[Upstream] = []

    def replace(self, raw: dict[str, Any]) -> None:
        """Takes the table in the form of `runtime.edge`."""
        self.timeout_s, self.azure = raw["request_timeout_s"], raw.get("azure")
        self.apps = {app["port"]: self._app(app) for app in raw["apps"]}
        routed = {id(upstream) for upstream in self._routed()}
        for known, upstream in list(self._upstreams.items()):
            if id(upstream) not in routed:
                del self._upstreams[known]
                upstream.retire()
                self._retired.append(upstream)
        self._announce()

    def load(self) -> dict[str, dict[str, int]]:
        """Per revision with requests: how many are in flight, and how many of these wait for a
        replica.
        """
        return {
            revision.key: {"in_flight": revision.in_flight, "waiting": revision.waiting}
            for app in self.apps.values()
            for revision in app.revisions.values()
            if revision.in_flight
        }

    def retiring(self) -> dict[str, int]:
        """Requests that replicas without a route still serve."""
        self._retired = [upstream for upstream in self._retired if upstream.in_flight]
        routed = {name for name, _ in self._upstreams}
        return {
            upstream.name: upstream.in_flight
            for upstream in self._retired
            if upstream.name not in routed
        }

    def replicas(self) -> list[Upstream]:
        """Every ready replica, once."""
        return list({upstream.name: upstream for upstream in self._upstreams.values()}.values())

    async def wait_for_change(self) -> None:
        await self._changed.wait()

    def close(self) -> None:
        for upstream in self._upstreams.values():
            upstream.retire()

    def _app(self, raw: dict[str, Any]) -> App:
        known = self.apps.get(raw["port"], App("", 0)).revisions
        app = App(raw["name"], raw["port"], raw["sticky"], raw["allow_insecure"], raw["tcp"])
        for item in raw["revisions"]:
            revision = known.get(
                item["name"], Revision(item["name"])
            )  # the same object: requests in flight count down on it
            revision.key, revision.labels = item["key"], tuple(item["labels"])
            revision.weight, revision.hold = item["weight"], item["hold"]
            revision.replicas = [self._upstream(replica) for replica in item["replicas"]]
            app.revisions[revision.name] = revision
        return app

    def _upstream(self, raw: dict[str, Any]) -> Upstream:
        known = (
            raw["name"],
            raw["port"],
        )  # a changed targetPort is another way into the same replica
        upstream = self._upstreams.get(known)
        if upstream is None or upstream.gone:
            upstream = self._upstreams[known] = Upstream(
                raw["name"], Path(raw["socket"]), raw["port"]
            )
        return upstream

    def _routed(self) -> Iterable[Upstream]:
        return (
            replica
            for app in self.apps.values()
            for revision in app.revisions.values()
            for replica in revision.replicas
        )

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
