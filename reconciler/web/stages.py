"""What is happening to a service now, as stages from Azure's resources to the adapters, each with
the seconds it has taken and, where it is known, the prediction. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs
from reconciler.engine.external import ObjectKey
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.web.axes import Tone
from reconciler.web.resource_graph import ResourceNode

_FILES = (Kind.FOLDER, Kind.JOB, Kind.CATALOGUE)


class StageState(StrEnum):
    """Where a stage stands."""

    DONE = "done"
    NOW = "now"
    FAILED = "failed"
    WAITS = "waits for you"
    TO_COME = "to come"


@dataclass(frozen=True)
class RolloutStage:
    """`seconds` since it began and `predicted` seconds are None where nobody knows them."""

    name: str
    state: StageState
    message: str = ""
    seconds: float | None = None
    predicted: int | None = None


def stages_of(
    nodes: Sequence[ResourceNode],
    records: Mapping[ObjectKey, ObjectRecord],
    app: AppOutputs,
    now: datetime,
    elapsed: float | None,
) -> tuple[RolloutStage, ...]:
    """The stages of one service; what comes after a stage that is not done is to come."""
    found: list[RolloutStage] = []
    open_ = True
    for stage in _stages(nodes, records, app, now, elapsed):
        found.append(
            stage if open_ else replace(stage, state=StageState.TO_COME, message="", seconds=None)
        )
        open_ = open_ and stage.state is StageState.DONE
    return tuple(found)


def _stages(
    nodes: Sequence[ResourceNode],
    records: Mapping[ObjectKey, ObjectRecord],
    app: AppOutputs,
    now: datetime,
    elapsed: float | None,
) -> Iterator[RolloutStage]:
    parts = {
        "Azure resources": [n for n in nodes if n.key.kind not in (*_FILES, Kind.APP)],
        "Files on the share": [n for n in nodes if n.key.kind in _FILES],
        "Revision": [n for n in nodes if n.key.kind == Kind.APP],
    }
    for name, members in parts.items():
        if members:
            yield _of_records(name, members, records, elapsed, app)
    if app.asked_revision and any(each.name == app.asked_revision for each in app.revisions):
        said = next((records[n.key].message for n in nodes if n.key.kind == Kind.APP), "")
        yield _replica(app, now, said)
        yield from _adapters(app)


def _of_records(
    name: str,
    members: Sequence[ResourceNode],
    records: Mapping[ObjectKey, ObjectRecord],
    elapsed: float | None,
    app: AppOutputs,
) -> RolloutStage:
    rest = [node for node in members if not _arrived(records[node.key], app)]
    failed = [node for node in rest if node.tone is Tone.BAD]
    if not rest:
        return RolloutStage(name, StageState.DONE)
    first = (failed or rest)[0]
    since = records[first.key].since
    blocked = records[first.key].phase is Phase.BLOCKED
    return RolloutStage(
        name,
        StageState.FAILED if failed else StageState.WAITS if blocked else StageState.NOW,
        first.message or f"{first.key}: {first.phase}",
        # What failed is tried again now and then: since when it fails stands with its cause.
        max(0.0, elapsed - since) if elapsed and since and not (failed or blocked) else None,
    )


def _arrived(record: ObjectRecord, app: AppOutputs) -> bool:
    """A revision has arrived when Azure runs it; what its replicas do is the next stage."""
    if record.key.kind == Kind.APP and record.phase is Phase.UNREADY and not record.failed:
        return any(each.name == app.asked_revision and each.active for each in app.revisions)
    return record.phase in (Phase.READY, Phase.SKIPPED, Phase.RETAINED)


def _replica(app: AppOutputs, now: datetime, said: str) -> RolloutStage:
    """`said` is what is told of the container app."""
    mine = [each for each in app.replicas if each.revision == app.asked_revision]
    predicted = next((each.startup.predicted_seconds for each in mine if each.startup), None)
    if app.asleep or any(each.ready for each in mine):
        took = next((each.startup.seconds for each in mine if each.startup), None)
        return RolloutStage("Replica", StageState.DONE, "", took, predicted)
    seen = [each for each in app.arm.replicas if each.revision == app.asked_revision]
    began = min((each.created_time for each in seen if each.created_time), default=None)
    if not seen:
        asked = (each for each in app.arm.revisions if each.name == app.asked_revision)
        began = next((each.created_time for each in asked), None)
    message = next((each.message for each in mine if each.message), "")
    crashed = any(each.restarts for each in mine)
    return RolloutStage(
        "Replica",
        StageState.FAILED if crashed else StageState.NOW,
        message
        or ("it pulls, starts and reads the model" if seen else said or "Azure starts a replica"),
        _since(began, now),
        predicted,
    )


def _adapters(app: AppOutputs) -> Iterator[RolloutStage]:
    rows = [
        adapter
        for replica in app.replicas
        if replica.revision == app.asked_revision
        for adapter in replica.adapters
    ]
    if not rows:
        return
    failed = [each for each in rows if each.state == "Failed"]
    loading = [each for each in rows if each.state == "Loading"]
    if failed:
        first = failed[0]
        text = f"{first.name}: {first.message or first.reason}"
        yield RolloutStage("Adapters", StageState.FAILED, text)
    elif loading:
        names = ", ".join(dict.fromkeys(each.name for each in loading))
        yield RolloutStage("Adapters", StageState.NOW, f"loading {names}")
    else:
        yield RolloutStage("Adapters", StageState.DONE)


def _since(began: str | None, now: datetime) -> float | None:
    try:
        return max(0.0, (now - datetime.fromisoformat(began)).total_seconds()) if began else None
    except (ValueError, TypeError):  # somebody else's text, or a time without a zone
        return None
