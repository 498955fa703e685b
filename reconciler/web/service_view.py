"""What the page shows of one document: a verdict in a sentence, the two axes, and everything below
it. Pure, from the rows of the store; `view` calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from reconciler.api.conditions import Condition
from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs, CatalogueOutputs, ReplicaRow, RoutesOutputs
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord
from reconciler.engine.store import DocumentRow
from reconciler.engine.waiting import Waiting
from reconciler.web.axes import Axis, Conditions, PlainCause, Tone, causes_of, health_of, sync_of
from reconciler.web.generations import Generation, GenerationNote, History
from reconciler.web.resource_graph import ResourceNode, graph_of, leaf_of
from reconciler.web.traffic import AnsweredSum, VersionTraffic, by_revision, by_version
from reconciler.web.verdict import (
    PLAN_WAITS,
    Answering,
    answering_adapters,
    environment_verdict,
    service_verdict,
)

DIGITS = 8  # of a digest, enough to tell two versions apart


class AdapterCell(NamedTuple):
    """The digest with which a replica answers for an adapter, its state, and what was asked of it
    since the replica started.
    """

    digest: str
    state: str
    requests: int = 0
    errors: int = 0


@dataclass(frozen=True)
class AdapterLine:
    """One adapter on all replicas: what is asked for, and by replica what answers."""

    name: str
    asked: str
    cells: Mapping[str, AdapterCell]
    canary: str = ""
    weight: int = 0


@dataclass(frozen=True)
class DocumentView:
    """One document. `serves` says whether requests are answered, `billed` how many replicas run,
    `idle` how many of them do not serve.
    """

    ref: DocumentRef
    generation: int
    observed: int
    verdict: str
    sync: Axis
    health: Axis
    serves: bool
    causes: tuple[PlainCause, ...]
    conditions: tuple[Condition, ...]
    waits: Waiting | None
    app: AppOutputs
    models: tuple[str, ...] = ()
    adapters: tuple[AdapterLine, ...] = ()
    own: tuple[ObjectKey, ...] = field(default=(), repr=False)
    records: Mapping[ObjectKey, ObjectRecord] = field(default_factory=dict, repr=False)
    notes: Callable[[], Mapping[str, GenerationNote]] = field(default=dict, repr=False)

    @cached_property
    def nodes(self) -> tuple[ResourceNode, ...]:
        """Made when somebody looks: a list of a thousand services needs none of it."""
        return tuple(graph_of(self.own, self.records))

    @cached_property
    def answered(self) -> Mapping[str, AnsweredSum]:
        """By revision."""
        return by_revision(self.app)

    @cached_property
    def versions(self) -> tuple[VersionTraffic, ...]:
        """What each version of each adapter has answered."""
        return by_version(self.app, {line.name: line.weight for line in self.adapters})

    @cached_property
    def leaf(self) -> ObjectKey | None:
        """The resource that explains why the document is not well."""
        app = ObjectKey(Kind.APP, self.ref.name)
        if app in self.records and app in self.own and (found := leaf_of(app, self.records)):
            return found
        return next((node.leaf for node in self.nodes if node.leaf), None)

    @cached_property
    def history(self) -> History | None:
        if not self.is_service:
            return None
        record = self.records.get(ObjectKey(Kind.CATALOGUE, self.ref.name))
        catalogue = CatalogueOutputs.load(record.outputs) if record and record.exists else None
        return History(self.app, catalogue, self.notes())

    @cached_property
    def gateway(self) -> RoutesOutputs | None:
        """What is known of an Environment's gateway."""
        record = self.records.get(ObjectKey(Kind.ROUTES, self.ref.name))
        if self.is_service or record is None or not record.exists:
            return None
        return RoutesOutputs.load(record.outputs)

    @property
    def gateway_app(self) -> str:
        """The name of the gateway's container app; empty where there is none."""
        return next((key.name for key in self.own if key.kind == Kind.APP), "")

    @cached_property
    def gateway_endpoint(self) -> str:
        """Empty before there is one."""
        apps = (self.records[key] for key in self.own if key.kind == Kind.APP)
        found = (AppOutputs.load(each.outputs) for each in apps if each.exists)
        return next((each.endpoint for each in found if each and each.endpoint), "")

    @property
    def generations(self) -> Sequence[Generation]:
        """Newest first, with those that Azure refused to make."""
        return self.history.listed if self.history else ()

    @property
    def name(self) -> str:
        return self.ref.name

    @cached_property
    def environment(self) -> DocumentRef | None:
        """The Environment on whose resources a service stands."""
        refs = (node.document for node in self.nodes if node.document.kind == "Environment")
        return next(refs, None) if self.is_service else None

    @property
    def is_service(self) -> bool:
        return self.ref.kind == "InferenceService"

    @property
    def billed(self) -> int:
        return len(self.app.replicas)

    @property
    def idle(self) -> int:
        return sum(not replica.ready for replica in self.app.replicas)

    @property
    def ready(self) -> int:
        return self.billed - self.idle

    @property
    def tone(self) -> Tone:
        """The graver of the two axes, for the list."""
        order = [Tone.BAD, Tone.WARN, Tone.BUSY, Tone.QUIET, Tone.GOOD]
        if self.health.word == "Asleep":
            return self.sync.tone if self.sync.tone is not Tone.GOOD else Tone.QUIET
        return min(self.sync.tone, self.health.tone, key=order.index)


def document_view(
    row: DocumentRow,
    records: Mapping[ObjectKey, ObjectRecord],
    own: Sequence[ObjectKey],
    waits: Waiting | None,
    notes: Callable[[], Mapping[str, GenerationNote]],
) -> DocumentView:
    """Everything of one document; `own` are the keys of its objects, `notes` its history."""
    conditions = {condition.type: condition for condition in row.conditions}
    app = AppOutputs()
    models: tuple[str, ...] = ()
    lines: tuple[AdapterLine, ...] = ()
    answering: Sequence[tuple[str, str | None]] = ()
    if row.ref.kind == "InferenceService":
        app = app_of(records, row.ref.name)
        record = records.get(ObjectKey(Kind.CATALOGUE, row.ref.name))
        catalogue = CatalogueOutputs.load(record.outputs) if record and record.exists else None
        lines, answering = _adapters(catalogue, app), answering_adapters(catalogue, app)
        models = (row.ref.name, *(name for name, _ in answering)) if record else ()
    sync, health = sync_of(conditions), health_of(conditions)
    return DocumentView(
        row.ref,
        row.generation,
        row.observed,
        _verdict(row.ref, conditions, app, answering),
        sync,
        health,
        health.word in ("Healthy", "Asleep"),
        causes_of(conditions),
        row.conditions,
        waits,
        app,
        models,
        lines,
        tuple(own),
        records,
        notes,
    )


def app_of(records: Mapping[ObjectKey, ObjectRecord], service: str) -> AppOutputs:
    """What was last seen of a service's container app."""
    record = records.get(ObjectKey(Kind.APP, service))
    return (AppOutputs.load(record.outputs) if record and record.exists else None) or AppOutputs()


def _adapters(catalogue: CatalogueOutputs | None, app: AppOutputs) -> tuple[AdapterLine, ...]:
    return tuple(
        AdapterLine(
            each.name,
            each.digest[:DIGITS],
            {replica.name: _cell(replica, each.name) for replica in app.replicas},
            f"{each.canary.digest[:DIGITS]} on {each.canary.weight} %" if each.canary else "",
            each.canary.weight if each.canary else 0,
        )
        for each in (catalogue.adapters if catalogue else ())
    )


def _cell(replica: ReplicaRow, adapter: str) -> AdapterCell:
    """As that replica reports it."""
    for each in replica.adapters:
        if each.name == adapter:
            return AdapterCell((each.digest or "")[:DIGITS], each.state, each.requests, each.errors)
    return AdapterCell("", "Not reported")


def _verdict(
    ref: DocumentRef,
    conditions: Conditions,
    app: AppOutputs,
    adapters: Sequence[tuple[str, str | None]],
) -> str:
    """The state of a document in one sentence, with the cause of what is not well."""
    if ref.kind == "InferenceService":
        answering = Answering(
            adapters,
            len(app.replicas),
            sum(replica.ready for replica in app.replicas),
            any(each.serving and each.traffic_weight for each in app.revisions),
        )
        said = service_verdict(ref.name, conditions, answering, why=True)
    else:
        said = environment_verdict(ref.name, conditions, why=True)
    waits = sync_of(conditions).word == "Waits for approval"
    return f"{said}{PLAN_WAITS if waits else ''}."
