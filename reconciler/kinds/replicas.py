"""What really runs: revisions and replicas as ARM lists them, joined with each replica's own report
on the share.

ARM success is not app success. `Ready` comes from here: a healthy revision, and replicas that say
of themselves that model and adapters are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.outputs import (
    AppOutputs,
    ArmView,
    CatalogueOutputs,
    Replica,
    ReplicaRow,
    Revision,
    RevisionRow,
    Startup,
)
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.engine.external import Mark
from reconciler.kinds.agreement import agreement, proof
from reconciler.kinds.reports import STALE
from reconciler.kinds.rollout import Step
from serving.catalogue import ReplicaReport


@dataclass(frozen=True)
class Seen:
    """One look at a service. Each property is one step from what was read to what is said of it.

    `reports` are those of replicas that live; `proven_before` is the revision that was last seen to
    serve.
    """

    spec: ContainerAppSpec
    revisions: tuple[Revision, ...]
    replicas: tuple[Replica, ...]
    reports: Mapping[str, ReplicaReport]
    catalogue: CatalogueOutputs | None
    proven_before: str | None

    @classmethod
    def of(
        cls,
        spec: ContainerAppSpec,
        revisions: tuple[Revision, ...],
        replicas: tuple[Replica, ...],
        reports: Sequence[ReplicaReport],
        catalogue: CatalogueOutputs | None,
        proven_before: str | None,
        now: datetime,
    ) -> Self:
        """A look with these reports, less those that were stale `now`."""
        living = {report.replica: report for report in reports if now - report.heartbeat < STALE}
        return cls(spec, revisions, replicas, living, catalogue, proven_before)

    @cached_property
    def wanted(self) -> Revision | None:
        return next((each for each in self.revisions if each.name == self.spec.revision), None)

    @cached_property
    def mine(self) -> tuple[Replica, ...]:
        """The replicas of the wanted revision."""
        return tuple(each for each in self.replicas if each.revision == self.spec.revision)

    @cached_property
    def asleep(self) -> bool:
        """Whether it is scaled to zero."""
        there = self.wanted is not None and self.wanted.active
        return there and not self.mine and self.spec.scales_to_zero

    @cached_property
    def serving(self) -> bool:
        """Whether a replica of the wanted revision serves, by ARM's word and, for a model, its
        own.
        """
        return any(self.ready(replica) for replica in self.mine)

    @cached_property
    def agreed(self) -> Mark | None:
        """Whether all replicas serve what the catalogue says; None where there is no model."""
        if not self.spec.serves_model:
            return None
        return agreement(self.mine, self.reports, self.catalogue, asleep=self.asleep)

    @cached_property
    def proven(self) -> bool:
        """Whether the wanted revision serves: now, or when it was last seen before it scaled to
        zero.
        """
        if self.asleep:
            return self.proven_before == self.spec.revision
        behind = self.agreed is not None and self.agreed.status == Status.FALSE
        return self.serving and not behind

    @cached_property
    def message(self) -> str:
        """What is still missing; empty once it is proven."""
        if self.proven:
            return ""
        if self.serving and self.agreed:
            return self.agreed.message
        return _not_yet(self.wanted, self.mine, self.reports, self.spec)

    def ready(self, replica: Replica) -> bool:
        report = self.reports.get(replica.name)
        return replica.ready and (
            not self.spec.serves_model or (report is not None and report.ready)
        )

    def outputs(self, head: AppOutputs) -> AppOutputs:
        """`head`, which ARM tells of the app itself, with what is told of its replicas."""
        return replace(
            head,
            arm=ArmView(self.revisions, self.replicas),
            revisions=tuple(
                self._revision_row(revision)
                for revision in self.revisions
                if revision.active or revision.weight
            ),
            replicas=tuple(self._row(replica) for replica in self.replicas),
            proven=self.proven,
            proven_revision=self.spec.revision if self.proven else self.proven_before,
            asleep=self.asleep,
        )

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

    def _row(self, replica: Replica) -> ReplicaRow:
        report = self.reports.get(replica.name)
        row = ReplicaRow(
            name=replica.name,
            revision=replica.revision,
            ready=self.ready(replica),
            restarts=replica.restarts,
            started_at=replica.created_time,
            message=replica.details,
        )
        if report is None:
            return row
        return replace(
            row,
            pid=report.pid,
            started_at=_time(report.started_at),
            message=report.message or replica.details,
            adapters=report.adapters,
            generation=report.generation,
            heartbeat=_time(report.heartbeat),
            api_keys=report.api_keys,
            startup=Startup(self.spec.startup_seconds, _startup(replica, report)),
        )

    def marks(self, found: Mapping[str, Any], step: Step) -> tuple[Mark, ...]:
        """The conditions of the service."""
        provisioned = str(found["properties"].get("provisioningState")).lower() == "succeeded"
        errors = str(found["properties"].get("deploymentErrors") or "")
        return (
            Mark(
                ConditionType.PROVISIONED,
                Status.of(provisioned),
                Reason.PROVISIONED if provisioned else Reason.OPERATION_FAILED,
                errors,
            ),
            _revision_mark(self.wanted, step),
            *self._model_marks(),
        )

    def _model_marks(self) -> Iterator[Mark]:
        if self.agreed is not None:
            yield _model_mark(self.mine, self.reports, asleep=self.asleep)
            yield self.agreed
            if (proven := proof(self.reports)) is not None:
                yield proven


def _startup(replica: Replica, report: ReplicaReport) -> float | None:
    """Seconds from the replica's creation by Azure, the image's pull included, until it was ready
    for the first time.
    """
    try:
        created = datetime.fromisoformat(str(replica.created_time))
    except ValueError:
        return None
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    return round((report.ready_at - created).total_seconds(), 1) if report.ready_at else None


def _not_yet(
    wanted: Revision | None,
    mine: Sequence[Replica],
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
        fresh[replica.name].message
        for replica in mine
        if replica.name in fresh and fresh[replica.name].message
    ]
    if said:
        return said[0]
    # ARM says when a container started as well as why it did not; only the second is worth
    # repeating.
    return next(
        (str(r.details) for r in mine if r.restarts and r.details),
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
    mine: Sequence[Replica], fresh: Mapping[str, ReplicaReport], *, asleep: bool
) -> Mark:
    if asleep:
        return Mark(
            ConditionType.MODEL_LOADED,
            Status.UNKNOWN,
            Reason.SCALED_TO_ZERO,
            "no replica runs; a request or a rollout starts one",
        )
    loaded = [r for r in mine if (report := fresh.get(r.name)) is not None and report.model_loaded]
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
