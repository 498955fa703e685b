"""What really runs: revisions and replicas as ARM lists them, joined with each replica's own report
on the share.

ARM success is not app success. `Ready` comes from here: a healthy revision, and replicas that
report model and adapters as loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.outputs import (
    AppOutputs,
    ArmView,
    CatalogueOutputs,
    ReplicaRow,
    Revision,
    RevisionRow,
    SeenReplica,
    SeenStart,
    Startup,
)
from reconciler.api.reasons import Cause, Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.engine.external import Mark
from reconciler.kinds.service.agreement import agreement, proof
from reconciler.kinds.service.rollout import Step
from reconciler.kinds.service.scheduled import scheduled
from reconciler.kinds.service.starts import created_at, expected, ready_after, remembered
from reconciler.kinds.share.reports import STALE
from serving.catalogue import ReplicaReport
from serving.gateway.routes import StartPrediction


@dataclass(frozen=True)
class Seen:
    """One look at a service. Each property derives one fact from what was read.

    `reports` are those of live replicas. `proven_before` is the revision that was last seen to
    serve all that was asked of it, `served_before` are the adapters that it served then.
    """

    spec: ContainerAppSpec
    arm: ArmView
    reports: Mapping[str, ReplicaReport]
    catalogue: CatalogueOutputs | None
    proven_before: str | None
    served_before: frozenset[str]
    now: datetime
    starts: tuple[SeenStart, ...] = ()

    @classmethod
    def of(
        cls,
        spec: ContainerAppSpec,
        arm: ArmView,
        reports: Sequence[ReplicaReport],
        catalogue: CatalogueOutputs | None,
        before: AppOutputs | None,
        now: datetime,
    ) -> Self:
        """A look with these reports, without the stale ones; `before` is the last look."""
        before = before or AppOutputs()
        living = {report.replica: report for report in reports if now - report.heartbeat < STALE}
        served = frozenset(before.served_adapters) & {
            adapter.name for adapter in (catalogue.adapters if catalogue else ())
        }
        known = before.starts
        if spec.serves_model:
            known = remembered(known, arm.replicas, living, spec.startup_seconds)
        return cls(spec, arm, living, catalogue, before.proven_revision, served, now, known)

    @property
    def revisions(self) -> tuple[Revision, ...]:
        return self.arm.revisions

    @property
    def replicas(self) -> tuple[SeenReplica, ...]:
        return self.arm.replicas

    @cached_property
    def wanted(self) -> Revision | None:
        return next((each for each in self.revisions if each.name == self.spec.revision), None)

    @cached_property
    def mine(self) -> tuple[SeenReplica, ...]:
        """The replicas of the wanted revision."""
        return tuple(each for each in self.replicas if each.revision == self.spec.revision)

    @cached_property
    def asleep(self) -> bool:
        """Whether it is scaled to zero."""
        there = self.wanted is not None and self.wanted.active
        return there and not self.mine and self.spec.scales_to_zero

    @cached_property
    def serving(self) -> bool:
        """Whether a replica of the wanted revision serves, according to ARM and, for a model, to
        its own report.
        """
        return any(self.ready(replica) for replica in self.mine)

    @cached_property
    def agreed(self) -> Mark | None:
        """Whether all replicas serve what the catalogue says; None where there is no model."""
        if not self.spec.serves_model:
            return None
        return agreement(
            self.mine,
            self.reports,
            self.catalogue,
            asleep=self.asleep,
            served=self.served_before,
        )

    @cached_property
    def proven(self) -> bool:
        """Whether the wanted revision serves, or did at the last look before it scaled to zero."""
        if self.asleep:
            return self.proven_before == self.spec.revision
        behind = self.agreed is not None and self.agreed.status == Status.FALSE
        return self.serving and not behind

    @cached_property
    def carrying(self) -> tuple[Revision, ...]:
        """The revisions that requests go to; while nothing has traffic, the wanted one."""
        weighted = tuple(each for each in self.revisions if each.weight > 0)
        return weighted or ((self.wanted,) if self.wanted else ())

    @cached_property
    def serves(self) -> bool:
        """Whether requests are still answered as when the service was proven, perhaps by the old
        revision or with the old version of an adapter.
        """
        if self.proven and self.carrying == (self.wanted,):
            return True
        agreed = self.agreed if self.wanted in self.carrying else None
        lost = agreed is not None and agreed.reason is Reason.ADAPTER_NOT_SERVED
        return (
            self.proven_before is not None
            and bool(self.carrying)
            and all(map(self.answers, self.carrying))
            and not lost
        )

    def answers(self, revision: Revision) -> bool:
        """Whether a request to the revision is answered, or wakes it."""
        mine = [each for each in self.replicas if each.revision == revision.name]
        if not mine and self.spec.scales_to_zero:
            return revision.active and not revision.failed
        known = self.ready if revision.name == self.spec.revision else _ready_by_arm
        return revision.serving and any(map(known, mine))

    @cached_property
    def missing(self) -> int:
        """How many more ready replicas `minReplicas` needs."""
        least = int(self.spec.template["scale"].get("minReplicas") or 0)
        return max(0, least - sum(map(self.ready, self.mine)))

    @property
    def lacking(self) -> str:
        """In words, how many replicas are ready and why the others are not."""
        ready = sum(map(self.ready, self.mine))
        why = [
            f"{each.name}: {each.details or 'is starting'}"
            + (f" (restarted {each.restarts} times)" if each.restarts else "")
            for each in self.mine
            if not self.ready(each)
        ]
        asked = max(ready + self.missing, len(self.mine))
        head = f"{ready} of {asked} replicas are ready" if asked else "no replica runs yet"
        return "; ".join([head, *why[:3]])

    @property
    def late(self) -> bool:
        """Whether a missing replica needs attention: it crashes, takes much longer than a start
        should, or ARM does not list it a minute after the newest one was made.
        """
        absent = [each for each in self.mine if not self.ready(each)]
        limit = timedelta(seconds=1.5 * max(self.spec.startup_seconds, self.predicted()) + 60)
        since = [at for each in self.mine if (at := created_at(each)) is not None]
        newest = max(since, default=self.now)
        listed = len(absent) >= self.missing
        return any(each.restarts for each in absent) or self.now - newest > (
            limit if listed else timedelta(seconds=60)
        )

    @property
    def unproven(self) -> Cause:
        """Why a healthy revision does not yet serve what it should."""
        failed = (Reason.ADAPTER_FAILED, Reason.ADAPTER_NOT_SERVED)
        agreed = self.agreed
        return agreed.reason if agreed and agreed.reason in failed else Reason.LOADING

    @cached_property
    def message(self) -> str:
        """What is still missing; empty once it is proven."""
        if self.proven:
            return ""
        if self.serving and self.agreed:
            return self.agreed.message
        return _not_yet(self.wanted, self.mine, self.reports, self.spec)

    def ready(self, replica: SeenReplica) -> bool:
        report = self.reports.get(replica.name)
        return replica.ready and (
            not self.spec.serves_model or (report is not None and report.ready)
        )

    def outputs(self, head: AppOutputs) -> AppOutputs:
        """`head`, the outputs of the app itself, with those of its revisions and replicas."""
        return replace(
            head,
            arm=self.arm,
            revisions=tuple(
                self._revision_row(revision)
                for revision in self.revisions
                if revision.active or revision.weight
            ),
            replicas=tuple(self._row(replica) for replica in self.replicas),
            proven=self.proven,
            proven_revision=self.spec.revision if self.proven else self.proven_before,
            served_adapters=tuple(sorted(self.served_before | self._served())),
            asleep=self.asleep,
            starts=self.starts,
            scheduled=scheduled(self.spec.template["scale"], self.now),
        )

    def predicted(self, own: ReplicaReport | None = None) -> int:
        """Seconds that a cold start should take, by the model's size and the starts seen so far."""
        published = StartPrediction(seconds=self.spec.startup_seconds)
        return math.ceil(expected(published, self.starts, own).seconds)

    def _served(self) -> set[str]:
        return {
            adapter.name
            for report in self.reports.values()
            for adapter in report.adapters
            if adapter.digest
        }

    def _revision_row(self, revision: Revision) -> RevisionRow:
        ready = any(each.ready for each in self.replicas if each.revision == revision.name)
        return RevisionRow(
            revision.name,
            revision.active,
            revision.weight,
            revision.health,
            revision.running,
            revision.serving and revision.weight > 0 and ready,
            revision.error,
        )

    def _row(self, replica: SeenReplica) -> ReplicaRow:
        report = self.reports.get(replica.name)
        # Replicas of another engine report to another folder. While the revision of the new engine
        # starts, or after it was refused, only Azure's state is known of the replicas that serve.
        reports = report is not None or replica.revision == self.spec.revision
        row = ReplicaRow(
            name=replica.name,
            revision=replica.revision,
            ready=self.ready(replica) if reports else _ready_by_arm(replica),
            restarts=replica.restarts,
            started_at=replica.created_time,
            message=replica.details,
        )
        # A service of own code writes no report.
        if report is None:
            return row
        return replace(
            row,
            pid=report.pid,
            started_at=_time(report.started_at),
            message=report.message or replica.details,
            adapters=report.adapters,
            traffic=report.traffic,
            generation=report.generation,
            heartbeat=_time(report.heartbeat),
            api_keys=report.api_keys,
            startup=Startup(
                self.predicted(report), ready_after(replica, report), report.stage, report.stages
            ),
        )

    def marks(self, found: Mapping[str, Any], step: Step) -> tuple[Mark, ...]:
        """The conditions of the service."""
        provisioned = str(found["properties"].get("provisioningState")).lower() == "succeeded"
        errors = str(found["properties"].get("deploymentErrors") or "")
        # Azure keeps the error of a template that it refused. It still shows that error when the
        # document asks for an earlier revision again, which exists and need not be written.
        suffix = (found["properties"].get("template") or {}).get("revisionSuffix")
        if not provisioned and self.wanted and suffix and suffix != self.spec.suffix:
            provisioned = True
            errors = f"revision {self.wanted.name}; Azure still shows why it refused a later one"
        return (
            Mark(
                ConditionType.PROVISIONED,
                Status.of(provisioned),
                Reason.PROVISIONED if provisioned else Reason.OPERATION_FAILED,
                errors,
            ),
            self._revision_mark(step),
            *self._model_marks(),
        )

    def _revision_mark(self, step: Step) -> Mark:
        """The health of the revisions that requests go to."""
        kind = ConditionType.REVISION_HEALTHY
        silent = [each for each in self.carrying if not each.serving]
        if self.carrying and not silent:
            names = ", ".join(each.name for each in self.carrying)
            return Mark(kind, Status.TRUE, Reason.HEALTHY, f"revision {names}")
        failed = [each for each in silent if each.failed]
        if failed:
            message = "; ".join(f"revision {e.name}: {e.error or e.running}" for e in failed)
            return Mark(kind, Status.FALSE, Reason.REVISION_FAILED, message)
        if stopped := [each.name for each in silent if not each.active]:
            message = f"revision {', '.join(stopped)} is inactive; no request is answered"
            return Mark(kind, Status.FALSE, Reason.REVISION_INACTIVE, message)
        if self.wanted is None:
            return Mark(kind, Status.FALSE, Reason.ROLLING_OUT, step.message)
        return Mark(kind, Status.FALSE, Reason.STARTING, step.message or self.message)

    def _model_marks(self) -> Iterator[Mark]:
        if self.agreed is not None:
            yield self._model_mark()
            yield self.agreed
            if (proven := proof(self.reports)) is not None:
                yield proven

    def _model_mark(self) -> Mark:
        """Whether the replicas that get requests have loaded the model. Those of another revision
        count by their state in ARM alone.
        """
        kind = ConditionType.MODEL_LOADED
        if self.asleep:
            message = "no replica runs; a request or a rollout starts one"
            return Mark(kind, Status.UNKNOWN, Reason.SCALED_TO_ZERO, message)
        names = {revision.name for revision in self.carrying}
        there = [each for each in self.replicas if each.revision in names]
        loaded = sum(map(self._loaded, there))
        return Mark(
            kind,
            Status.of(loaded > 0),
            Reason.LOADED if loaded else Reason.LOADING,
            f"on {loaded} of {len(there)} replicas",
        )

    def _loaded(self, replica: SeenReplica) -> bool:
        if replica.revision != self.spec.revision:
            return replica.ready
        report = self.reports.get(replica.name)
        return report is not None and report.model_loaded


def _not_yet(
    wanted: Revision | None,
    mine: Sequence[SeenReplica],
    fresh: Mapping[str, ReplicaReport],
    spec: ContainerAppSpec,
) -> str:
    if wanted is None:
        return f"revision {spec.revision} does not exist yet"
    if wanted.failed:
        return f"revision {wanted.name}: {wanted.error or wanted.running}"
    if not mine:
        return f"revision {wanted.name} has no replica yet"
    # Only reports of live replicas count, because a stopped replica leaves its last report behind.
    said = [
        fresh[replica.name].message
        for replica in mine
        if replica.name in fresh and fresh[replica.name].message
    ]
    if said:
        return said[0]
    # ARM says when a container started, or why it did not start. Only the latter is worth
    # repeating.
    return next(
        (str(r.details) for r in mine if r.restarts and r.details),
        f"revision {wanted.name} is starting",
    )


def _ready_by_arm(replica: SeenReplica) -> bool:
    return replica.ready


def _time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
