"""What a plan adds to its lines: how long uploads take, when a change serves, and what each replica
has loaded of a catalogue. Pure; `cli.foresight` asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median
from typing import Literal

from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs, ReplicaRow
from reconciler.api.resources import ContainerAppSpec
from reconciler.engine.external import Desired, Impact, ObjectKey, with_spec
from reconciler.engine.plan import PlanLine
from reconciler.engine.record import ObjectRecord
from reconciler.kinds.impact import impact_of
from reconciler.kinds.service.app_write import PORT
from reconciler.kinds.service.starts import expected
from serving.catalogue import ReplicaReport
from serving.gateway.routes import StartPrediction

# The rate before any upload: 80 Mbit/s, what an office line sends. The plan calls it assumed.
ASSUMED = 10 * 2**20


@dataclass(frozen=True)
class ServedAfter:
    """Seconds from the write until a change serves, and seconds in which no replica serves.
    `basis`: measured at earlier starts of the service, else predicted from its model's size, else
    the limit after which the revision is given up. `weight` is the percentage of the requests
    that it serves then; the steps of the rollout bring the rest.
    """

    until_served: int
    without_service: int
    basis: Literal["measured", "predicted", "limit"]
    weight: int = 100

    def __str__(self) -> str:
        part = "" if self.weight == 100 else f" {self.weight} % of the requests"
        rest = ", the rest in steps" if part else ""
        if self.basis == "limit":
            return f"serves{part} once it is ready{rest} (limit {self.until_served} s)"
        known = "as its starts before" if self.basis == "measured" else "predicted"
        return f"serves{part} after about {self.until_served} s ({known}){rest}"


def served_after(
    lines: Iterable[PlanLine], desired: Iterable[Desired]
) -> Mapping[ObjectKey, ServedAfter]:
    """The times for each container app for which a line boots a revision."""
    specs = {item.key: item.spec for item in with_spec(desired, ContainerAppSpec)}
    found = {}
    for line in lines:
        impact, spec = impact_of(line), specs.get(line.key)
        if spec is not None and impact in (Impact.NEW_REVISION, Impact.RESTART):
            seconds, basis = _start(spec, line)
            gap = seconds if impact is Impact.RESTART else 0
            found[line.key] = ServedAfter(seconds, gap, basis, _weight(spec, line))
    return found


def _weight(spec: ContainerAppSpec, line: PlanLine) -> int:
    """A first revision takes no rollout steps, and neither does a revision on another port."""
    moves = any(change.path == PORT for change in line.changes)
    return 100 if line.action != "update" or moves or not spec.steps else spec.steps[0].weight


def _start(
    spec: ContainerAppSpec, line: PlanLine
) -> tuple[int, Literal["measured", "predicted", "limit"]]:
    app = line.outputs if isinstance(line.outputs, AppOutputs) else AppOutputs()
    if app.starts:
        published = StartPrediction(seconds=spec.startup_seconds)
        return ceil(expected(published, app.starts).seconds), "measured"
    took = [each.startup.seconds for each in app.replicas if each.startup and each.startup.seconds]
    if took:
        return ceil(median(took)), "measured"
    if spec.startup_seconds:
        return spec.startup_seconds, "predicted"
    return round(spec.deadline_seconds), "limit"


def with_rates(lines: Iterable[PlanLine], records: Iterable[ObjectRecord]) -> tuple[PlanLine, ...]:
    """`lines` with the rate of uploads: the median of the last upload of each folder, else one that
    is assumed.
    """
    rates = [record.outputs.get("bytesPerSecond") for record in records]
    known = [rate for rate in rates if isinstance(rate, int) and rate > 0]
    rate = int(median(known)) if known else ASSUMED
    return tuple(
        replace(line, transfer=replace(line.transfer, rate=rate, measured=bool(known)))
        if line.transfer
        else line
        for line in lines
    )


def new_engines(lines: Iterable[PlanLine]) -> set[ObjectKey]:
    """The catalogues of new engines, beside which the replicas of a service follow another one."""
    return {
        line.key
        for line in lines
        if line.key.kind == Kind.CATALOGUE and line.action == "create" and line.changes
    }


def loaded_by(
    lines: Sequence[PlanLine], reports: Mapping[ObjectKey, Sequence[ReplicaReport]]
) -> Mapping[ObjectKey, tuple[ReplicaRow, ...]]:
    """The replicas of each service with a catalogue, by the key of the catalogue. Each row says
    which version of each adapter the replica serves now. Where the catalogue of a new engine is
    still to be created, they follow the one before it, and their `reports` say what they serve.
    """
    replicas = {
        line.key.name: line.outputs.replicas
        for line in lines
        if line.key.kind == Kind.APP and isinstance(line.outputs, AppOutputs)
    }
    found = {
        line.key: replicas.get(line.key.name, ())
        for line in lines
        if line.key.kind == Kind.CATALOGUE and line.action != "create"
    }
    for key in new_engines(lines):
        said = {report.replica: report.adapters for report in reports.get(key, ())}
        rows = replicas.get(key.name, ())
        found[key] = tuple(
            replace(row, adapters=tuple(said[row.name])) for row in rows if row.name in said
        )
    return found
