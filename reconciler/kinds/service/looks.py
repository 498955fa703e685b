"""Reads the revisions and replicas of a service from ARM, as often as `turns` allows. What is read
becomes `replicas.Seen`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from reconciler.api.outputs import (
    AppOutputs,
    ArmView,
    CatalogueOutputs,
    Revision,
    SeenReplica,
    SeenStart,
)
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps, ids
from reconciler.arm.clients import Arm
from reconciler.engine.errors import ReconcileError
from reconciler.kinds.service.app_write import weights_of
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.turns import SAME_PASS, Turns
from reconciler.kinds.share.reports import Reports
from reconciler.kinds.share.start_memory import StartMemory
from serving.catalogue import ReplicaReport

UNREAD = timedelta(minutes=1)
TOLD = 4.0  # seconds between looks at a revision that boots, where its app says when it is ready
BRIEF = timedelta(seconds=2)  # after which the replicas of a boot have something to tell


class Read(NamedTuple):
    """The reports of a service: for which engine and catalogue, and when they were read."""

    of: tuple[str | None, CatalogueOutputs | None]
    reports: tuple[ReplicaReport, ...]
    at: datetime


class Looks:
    """Looks at services as often as `turns` allows. In between, the last look counts."""

    def __init__(self, arm: Arm, reports: Reports, turns: Turns, memory: StartMemory) -> None:
        self.arm, self.reports, self.turns, self.memory = arm, reports, turns, memory
        self._read: dict[str, Read] = {}
        self._waiting: dict[str, datetime] = {}  # when replicas were last read

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
        view = await self._view(spec, found, before)
        stands = before is not None and view is before.arm and _settled(spec, found, before)
        reports, at = await self._reports(spec, catalogue, stands=stands)
        if not (before and before.starts):
            before = replace(before or AppOutputs(), starts=await self._recalled(spec))
        return Seen.of(spec, view, reports, catalogue, before, at)

    async def _recalled(self, spec: ContainerAppSpec) -> tuple[SeenStart, ...]:
        """The starts that an earlier daemon saw. A look does not fail where they cannot be read."""
        if not spec.engine or spec.share is None:
            return ()
        try:
            return await self.memory.recall(spec.share, spec.service)
        except ReconcileError:
            return ()

    async def _reports(
        self, spec: ContainerAppSpec, catalogue: CatalogueOutputs | None, *, stands: bool
    ) -> tuple[tuple[ReplicaReport, ...], datetime]:
        """What the replicas say, and when they said it. If the last look at ARM `stands`, so does
        what was read from the share with it.
        """
        if not spec.engine:
            return (), self.arm.time.now()
        known = self._read.get(spec.service)
        if known is None or not stands or known.of != (spec.engine, catalogue):
            reports = await self.reports.read(spec)
            known = Read((spec.engine, catalogue), reports, self.arm.time.now())
            self._read[spec.service] = known
        return known.reports, known.at

    async def _view(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], before: AppOutputs | None
    ) -> ArmView:
        """What ARM lists; the last look again if it is not this service's turn."""
        turns = self.turns
        if before is None or not before.arm.looked_at:
            turns.moves(spec.service, spec.environment)
            if self._is_made(spec, found):
                turns.looked(spec.service, reads=0)
                return ArmView((_first(spec, found),), looked_at=self._now())
        elif not _settled(spec, found, before):
            news = _is_news(found, before.arm)
            patience = _patience(before.arm, news=news)
            if not turns.moves(spec.service, spec.environment, news=news, patience=patience):
                return before.arm
        elif not turns.settled(spec.service, spec.environment):
            return before.arm
        else:
            revisions = await self._revisions(spec)
            if revisions == before.arm.revisions and not turns.detailed(spec.service):
                turns.looked(spec.service, reads=1)
                # The revisions are the same, so the replicas of the last look are kept: their lists
                # are most of the reads.
                return replace(before.arm, looked_at=self._now())
        revisions = await self._revisions(spec)
        known = before.arm if before else ArmView()
        most = BRIEF if turns.rich() else UNREAD
        if not _judged(revisions) and self._waits(spec.service, most):
            # Wait for a revision that boots: reading its replicas would be half of the reads.
            turns.looked(spec.service, reads=1)
            return replace(known, revisions=revisions, looked_at=self._now())
        self._waiting.pop(spec.service, None)
        replicas = await self._replicas(spec, revisions)
        turns.looked(spec.service, reads=1 + sum(revision.active for revision in revisions))
        now = self._now()
        return ArmView(revisions, replicas, looked_at=now, replicas_at=now)

    def _is_made(self, spec: ContainerAppSpec, found: Mapping[str, Any]) -> bool:
        """Whether we have just created the app with this revision. It has nothing to tell yet."""
        app = ids.app(self.arm.subscription_id, spec.resource_group, spec.name)
        latest = found["properties"].get("latestRevisionName")
        return latest == spec.revision and self.arm.inventory.is_new(app)

    def _waits(self, service: str, most: timedelta) -> bool:
        """Whether the replicas of a booting revision may stay unread: for a minute at most, because
        a boot may fail.
        """
        now = self.arm.time.now()
        return now - self._waiting.setdefault(service, now) < most

    def _now(self) -> str:
        return self.arm.time.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def _revisions(self, spec: ContainerAppSpec) -> tuple[Revision, ...]:
        listed = await apps.list_revisions(self.arm, spec.resource_group, spec.name)
        return tuple(_revision(entry) for entry in listed)

    async def _replicas(
        self, spec: ContainerAppSpec, revisions: Sequence[Revision]
    ) -> tuple[SeenReplica, ...]:
        replicas: list[SeenReplica] = []
        for revision in revisions:
            if revision.active:
                listed = await apps.list_replicas(
                    self.arm, spec.resource_group, spec.name, revision.name
                )
                replicas += [_replica(each, revision.name) for each in listed if not _ends(each)]
        return tuple(replicas)


def _first(spec: ContainerAppSpec, found: Mapping[str, Any]) -> Revision:
    """The revision of an app that was just created, as its list will show it."""
    weight = weights_of(found).get(spec.revision, 0)
    return Revision(
        spec.revision, active=True, weight=weight, health="None", running="", replicas=0
    )


def _settled(spec: ContainerAppSpec, found: Mapping[str, Any], before: AppOutputs) -> bool:
    """Whether only the wanted revision was active and proven, and none has been made since."""
    known = before.arm.revisions
    active = [revision.name for revision in known if revision.active]
    latest = found["properties"].get("latestRevisionName")
    return (
        active == [spec.revision]
        and latest in {revision.name for revision in known}
        and before.proven
    )


def _is_news(found: Mapping[str, Any], known: ArmView) -> bool:
    """Whether the app names a ready revision that was not seen to be healthy."""
    ready = found["properties"].get("latestReadyRevisionName")
    return bool(ready) and not any(
        each.name == ready and each.health == "Healthy" for each in known.revisions
    )


def _patience(known: ArmView, *, news: bool) -> float:
    """Seconds between looks at revisions that boot; none where Azure has judged them. Azure calls
    the first revision ready whatever becomes of it, so its app has no news.
    """
    if _judged(known.revisions):
        return 0.0
    if len(known.revisions) == 1:
        return SAME_PASS
    return 0.0 if news else TOLD


def _judged(revisions: Sequence[Revision]) -> bool:
    """Whether Azure has judged the health of each active revision."""
    return all(each.health != "None" or each.error for each in revisions if each.active)


def _revision(entry: Mapping[str, Any]) -> Revision:
    properties = entry.get("properties") or {}
    return Revision(
        name=str(entry["name"]),
        active=bool(properties.get("active")),
        weight=int(properties.get("trafficWeight") or 0),
        health=str(properties.get("healthState") or "None"),
        running=str(properties.get("runningState") or ""),
        replicas=int(properties.get("replicas") or 0),
        error=_line(properties.get("provisioningError")) or None,
        created_time=properties.get("createdTime"),
    )


def _ends(entry: Mapping[str, Any]) -> bool:
    """Whether a replica was told to stop. Azure lists it for a while as not running, with
    containers that it calls ready.
    """
    properties = entry.get("properties") or {}
    containers = properties.get("containers") or []
    return properties.get("runningState") == "NotRunning" and any(
        container.get("ready") for container in containers
    )


def _replica(entry: Mapping[str, Any], revision: str) -> SeenReplica:
    properties = entry.get("properties") or {}
    containers = properties.get("containers") or []
    return SeenReplica(
        name=str(entry["name"]),
        revision=revision,
        ready=bool(containers) and all(container.get("ready") for container in containers),
        restarts=sum(int(container.get("restartCount") or 0) for container in containers),
        created_time=properties.get("createdTime"),
        details="; ".join(
            _line(c["runningStateDetails"]) for c in containers if c.get("runningStateDetails")
        ),
    )


def _line(text: object) -> str:
    """Azure's words in one line: some of its errors have several."""
    return " ".join(str(text or "").split())
