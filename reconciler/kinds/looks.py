"""How often the revisions and replicas of a service are listed, so that ARM is not asked more than
its budget allows. What is read becomes `replicas.Seen`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.api.outputs import AppOutputs, CatalogueOutputs, Replica, Revision
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps
from reconciler.arm.clients import Arm
from reconciler.kinds.replicas import Seen
from reconciler.kinds.reports import Reports


class Looks:
    """Looks at services without wearing ARM out: what is settled is looked at in full only now and
    then, `budget` services per `period` seconds and all of them in turn; anything that moves is
    looked at every time.
    """

    def __init__(
        self,
        arm: Arm,
        reports: Reports,
        clock: Callable[[], float],
        budget: int = 2,
        period: float = 50.0,
    ) -> None:
        self.arm, self.reports, self.clock = arm, reports, clock
        self.budget, self.period = budget, period
        self._spent: list[float] = []
        self._last: dict[str, float] = {}  # by service, of a look in full
        self._asked: dict[str, float] = {}

    async def look(
        self,
        spec: ContainerAppSpec,
        found: Mapping[str, Any],
        before: AppOutputs | None,
        catalogue: CatalogueOutputs | None,
    ) -> Seen:
        """Look at one service; `before` are the outputs of the last look, `catalogue` those of its
        AdapterCatalogue.
        """
        reports = await self.reports.read(spec) if spec.engine else ()
        if before and _settled(spec, found, before) and not self._may_spend(spec.service):
            revisions, replicas = before.arm.revisions, before.arm.replicas
        else:
            revisions = await self._revisions(spec)
            replicas = await self._replicas(spec, revisions)
        proven_before = before.proven_revision if before else None
        now = self.arm.time.now()
        return Seen.of(spec, revisions, replicas, reports, catalogue, proven_before, now)

    def _may_spend(self, service: str) -> bool:
        now = self.clock()
        before, mine = (
            self._asked.get(service, -math.inf),
            self._last.setdefault(service, -math.inf),
        )
        self._asked[service] = now
        if now - mine < 2.0:  # looked a moment ago, in this very pass
            return True
        self._spent = [at for at in self._spent if now - at < self.period]
        # Passes come in the same order every time: without turns the first services would take the
        # whole budget. A service that has not asked since this one did no longer exists.
        ahead = sum(at < mine and self._asked[other] >= before for other, at in self._last.items())
        if len(self._spent) + ahead >= self.budget:
            return False
        self._spent.append(now)
        self._last[service] = now
        return True

    async def _revisions(self, spec: ContainerAppSpec) -> tuple[Revision, ...]:
        listed = await apps.list_revisions(self.arm, spec.resource_group, spec.name)
        return tuple(_revision(entry) for entry in listed)

    async def _replicas(
        self, spec: ContainerAppSpec, revisions: Sequence[Revision]
    ) -> tuple[Replica, ...]:
        replicas: list[Replica] = []
        for revision in revisions:
            if revision.active:
                listed = await apps.list_replicas(
                    self.arm, spec.resource_group, spec.name, revision.name
                )
                replicas += [_replica(entry, revision.name) for entry in listed]
        return tuple(replicas)


def _settled(spec: ContainerAppSpec, found: Mapping[str, Any], before: AppOutputs) -> bool:
    """Only the wanted revision was active, and no revision has been made since (by whomever)."""
    known = before.arm.revisions
    active = [revision.name for revision in known if revision.active]
    latest = found["properties"].get("latestRevisionName")
    return (
        active == [spec.revision]
        and latest in {revision.name for revision in known}
        and before.proven
    )


def _revision(entry: Mapping[str, Any]) -> Revision:
    properties = entry.get("properties") or {}
    return Revision(
        name=str(entry["name"]),
        active=bool(properties.get("active")),
        weight=int(properties.get("trafficWeight") or 0),
        health=str(properties.get("healthState") or "None"),
        running=str(properties.get("runningState") or ""),
        replicas=int(properties.get("replicas") or 0),
        error=properties.get("provisioningError") or None,
        created_time=properties.get("createdTime"),
    )


def _replica(entry: Mapping[str, Any], revision: str) -> Replica:
    properties = entry.get("properties") or {}
    containers = properties.get("containers") or []
    return Replica(
        name=str(entry["name"]),
        revision=revision,
        ready=bool(containers) and all(container.get("ready") for container in containers),
        restarts=sum(int(container.get("restartCount") or 0) for container in containers),
        created_time=properties.get("createdTime"),
        details="; ".join(
            str(c["runningStateDetails"]) for c in containers if c.get("runningStateDetails")
        ),
    )
