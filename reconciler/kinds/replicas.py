"""What really runs: revisions and replicas as ARM lists them, joined with each replica's own report
on the share.

ARM success is not app success. `Ready` comes from here: a healthy revision, and replicas that say
of themselves that model and adapters are loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps
from reconciler.arm.clients import Arm
from reconciler.engine.external import Mark
from reconciler.kinds.agreement import agreement, proof
from reconciler.kinds.reports import STALE, Reports
from reconciler.kinds.rollout import Action, Revision, Step
from serving.catalogue import ReplicaReport


@dataclass(frozen=True)
class Seen:
    """One look at a service. `proven` says that the wanted revision serves: now, or at its last
    look before it scaled to zero.
    """

    revisions: tuple[Revision, ...]
    outputs: dict[str, Any]
    proven: bool
    message: str = ""
    reports: tuple[ReplicaReport, ...] = ()
    extra: tuple[Mark, ...] = field(default=())

    def marks(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], step: Step
    ) -> tuple[Mark, ...]:
        wanted = next((r for r in self.revisions if r.name == spec.revision), None)
        provisioned = str(found["properties"].get("provisioningState")).lower() == "succeeded"
        errors = str(found["properties"].get("deploymentErrors") or "")
        return (
            Mark(
                ConditionType.PROVISIONED,
                Status.of(provisioned),
                Reason.PROVISIONED if provisioned else Reason.OPERATION_FAILED,
                errors,
            ),
            _revision_mark(wanted, step),
            *self.extra,
        )


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
        before: Mapping[str, Any],
        catalogue: Mapping[str, Any],
    ) -> Seen:
        """Look at one service; `before` are the outputs of the last look, `catalogue` those of its
        AdapterCatalogue.
        """
        reports = await self.reports.read(spec) if spec.engine else ()
        if self._settled(spec, found, before) and not self._may_spend(spec.service):
            revisions = tuple(Revision(**entry) for entry in before["arm"]["revisions"])
            replicas = before["arm"]["replicas"]
        else:
            revisions = await self._revisions(spec)
            replicas = await self._replicas(spec, revisions)
        now = self.arm.time.now()
        return _seen(spec, revisions, replicas, reports, before, catalogue, now)

    def _settled(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], before: Mapping[str, Any]
    ) -> bool:
        """Only the wanted revision was active, and no revision has been made since (by
        whomever).
        """
        known = (before.get("arm") or {}).get("revisions", ())
        active = [revision["name"] for revision in known if revision["active"]]
        latest = found["properties"].get("latestRevisionName")
        return (
            active == [spec.revision]
            and latest in {r["name"] for r in known}
            and bool(before.get("proven"))
        )

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
    ) -> list[dict[str, Any]]:
        replicas: list[dict[str, Any]] = []
        for revision in revisions:
            if revision.active:
                listed = await apps.list_replicas(
                    self.arm, spec.resource_group, spec.name, revision.name
                )
                replicas += [_replica(entry, revision.name) for entry in listed]
        return replicas


def _seen(
    spec: ContainerAppSpec,
    revisions: tuple[Revision, ...],
    replicas: Sequence[Mapping[str, Any]],
    reports: Sequence[ReplicaReport],
    before: Mapping[str, Any],
    catalogue: Mapping[str, Any],
    now: datetime,
) -> Seen:
    fresh = {report.replica: report for report in reports if now - report.heartbeat < STALE}
    wanted = next((revision for revision in revisions if revision.name == spec.revision), None)
    mine = [replica for replica in replicas if replica["revision"] == spec.revision]
    asleep = wanted is not None and wanted.active and not mine and spec.scales_to_zero
    serving = [
        replica
        for replica in mine
        if replica["ready"] and (not spec.serves_model or _says_ready(fresh, replica))
    ]
    agreed = agreement(mine, fresh, catalogue, asleep=asleep) if spec.serves_model else None
    behind = agreed is not None and agreed.status is Status.FALSE
    proven = (bool(serving) and not behind) or (
        asleep and before.get("provenRevision") == spec.revision
    )
    rows = [_row(replica, fresh.get(replica["name"]), spec) for replica in replicas]
    outputs = {
        "arm": {
            "revisions": [vars(revision) for revision in revisions],
            "replicas": [dict(replica) for replica in replicas],
        },
        "revisions": [
            _revision_row(revision, replicas)
            for revision in revisions
            if revision.active or revision.weight
        ],
        "replicas": rows,
        "proven": proven,
        "provenRevision": spec.revision if proven else before.get("provenRevision"),
        "asleep": asleep,
    }
    message = (
        ""
        if proven
        else (agreed.message if serving and agreed else _not_yet(wanted, mine, fresh, spec))
    )
    marks = (_model_mark(mine, fresh, asleep=asleep), agreed, proof(fresh)) if agreed else ()
    extra = tuple(mark for mark in marks if mark is not None)
    return Seen(revisions, outputs, proven, message, tuple(fresh.values()), extra)


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
    )


def _replica(entry: Mapping[str, Any], revision: str) -> dict[str, Any]:
    properties = entry.get("properties") or {}
    containers = properties.get("containers") or []
    return {
        "name": str(entry["name"]),
        "revision": revision,
        "ready": bool(containers) and all(container.get("ready") for container in containers),
        "restarts": sum(int(container.get("restartCount") or 0) for container in containers),
        "createdTime": properties.get("createdTime"),
        "details": "; ".join(
            str(c["runningStateDetails"]) for c in containers if c.get("runningStateDetails")
        ),
    }


def _row(
    replica: Mapping[str, Any], report: ReplicaReport | None, spec: ContainerAppSpec
) -> dict[str, Any]:
    """A replica for people and programs: ARM's view and, for a model, its own."""
    ready = bool(replica["ready"]) and (
        not spec.serves_model or (report is not None and report.ready)
    )
    row = {
        "name": replica["name"],
        "revision": replica["revision"],
        "ready": ready,
        "restarts": replica["restarts"],
        "pid": report.pid if report else None,
        "startedAt": _time(report.started_at) if report else replica["createdTime"],
        "adapters": [],
        "message": (report.message if report else "") or replica["details"],
    }
    if report:
        row["adapters"] = [a.model_dump(mode="json", by_alias=True) for a in report.adapters]
        row["generation"] = report.generation
        row["heartbeat"] = _time(report.heartbeat)
        row["apiKeys"] = list(report.api_keys)
        row["startup"] = {
            "predictedSeconds": spec.startup_seconds,
            "seconds": _startup(replica, report),
        }
    return row


def _startup(replica: Mapping[str, Any], report: ReplicaReport) -> float | None:
    """Seconds from the replica's creation by Azure, the image's pull included, until it was ready
    for the first time.
    """
    try:
        created = datetime.fromisoformat(str(replica["createdTime"]))
    except ValueError:
        return None
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    return round((report.ready_at - created).total_seconds(), 1) if report.ready_at else None


def _revision_row(revision: Revision, replicas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ready = any(replica["ready"] for replica in replicas if replica["revision"] == revision.name)
    return {
        "name": revision.name,
        "active": revision.active,
        "trafficWeight": revision.weight,
        "healthState": revision.health,
        "runningState": revision.running,
        "serving": revision.serving and revision.weight > 0 and ready,
        "error": revision.error,
    }


def _says_ready(fresh: Mapping[str, ReplicaReport], replica: Mapping[str, Any]) -> bool:
    report = fresh.get(replica["name"])
    return report is not None and report.ready


def _not_yet(
    wanted: Revision | None,
    mine: Sequence[Mapping[str, Any]],
    fresh: Mapping[str, ReplicaReport],
    spec: ContainerAppSpec,
) -> str:
    if wanted is None:
        return f"revision {spec.revision} does not exist yet"
    if wanted.failed:
        return f"revision {wanted.name}: {wanted.error or wanted.running}"
    if not mine:
        return f"revision {wanted.name} has no replica yet"
    # Of replicas that live: one that has stopped leaves its last words behind.
    said = [
        fresh[replica["name"]].message
        for replica in mine
        if replica["name"] in fresh and fresh[replica["name"]].message
    ]
    if said:
        return said[0]
    # ARM says when a container started as well as why it did not; only the second is worth
    # repeating.
    return next(
        (str(r["details"]) for r in mine if r["restarts"] and r["details"]),
        f"revision {wanted.name} is starting",
    )


def _revision_mark(wanted: Revision | None, step: Step) -> Mark:
    if wanted is None:
        return Mark(ConditionType.REVISION_HEALTHY, Status.FALSE, Reason.ROLLING_OUT, step.message)
    if wanted.failed:
        return Mark(
            ConditionType.REVISION_HEALTHY,
            Status.FALSE,
            Reason.REVISION_FAILED,
            wanted.error or f"{wanted.name} is {wanted.running}",
        )
    if wanted.serving:
        return Mark(
            ConditionType.REVISION_HEALTHY, Status.TRUE, Reason.HEALTHY, f"revision {wanted.name}"
        )
    return Mark(ConditionType.REVISION_HEALTHY, Status.FALSE, Reason.STARTING, step.message)


def _model_mark(
    mine: Sequence[Mapping[str, Any]], fresh: Mapping[str, ReplicaReport], *, asleep: bool
) -> Mark:
    if asleep:
        return Mark(
            ConditionType.MODEL_LOADED,
            Status.UNKNOWN,
            Reason.SCALED_TO_ZERO,
            "no replica runs; a request or a rollout starts one",
        )
    loaded = [
        r for r in mine if (report := fresh.get(r["name"])) is not None and report.model_loaded
    ]
    if mine and len(loaded) == len(mine):
        return Mark(
            ConditionType.MODEL_LOADED,
            Status.TRUE,
            Reason.LOADED,
            f"on {len(loaded)} of {len(mine)} replicas",
        )
    return Mark(
        ConditionType.MODEL_LOADED,
        Status.FALSE,
        Reason.LOADING,
        f"on {len(loaded)} of {len(mine)} replicas",
    )


def _time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ["Action", "Looks", "Seen"]
