"""The status as one JSON value, read from the store: the same for `moorage status`, the status API
and the status page.

Programs rely on its form, see docs/status.md: fields may be added, but no field is renamed or
removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs, CatalogueOutputs, RoutesOutputs
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord
from reconciler.engine.store import DocumentRow, Store
from reconciler.web.verdict import answering_adapters


def status_of(store: Store | None, target: str, daemon: Mapping[str, Any]) -> dict[str, Any]:
    """`{"target", "daemon", "documents": [...]}`; without a store nothing has been observed yet."""
    rows = store.documents() if store else ()
    records = {record.key: record for record in store.objects()} if store else {}
    own: dict[DocumentRef, list[ObjectRecord]] = defaultdict(list)
    for record in records.values():
        own[record.document].append(record)
    problems = (store.get("problems") or "") if store else ""
    status: dict[str, Any] = {
        "target": target,
        "daemon": dict(daemon),
        "documents": [_document(row, own[row.ref], records) for row in rows],
    }
    if store and (commit := store.get("commit")):
        status["commit"] = commit
    if problems:
        status["problems"] = problems.splitlines()
    return status


def _document(
    row: DocumentRow, own: Iterable[ObjectRecord], records: Mapping[ObjectKey, ObjectRecord]
) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": row.ref.kind,
        "name": row.ref.name,
        "generation": row.generation,
        "observedGeneration": row.observed,
        "conditions": [condition.dump() for condition in row.conditions],
        "objects": [_object(record) for record in own],
    }
    if row.ref.kind == "InferenceService":
        value |= _service(row.ref, records)
    elif gateway := _gateway(row.ref, records):
        value["gateway"] = gateway
    return value


def _object(record: ObjectRecord) -> dict[str, Any]:
    return {
        "kind": record.key.kind,
        "name": record.key.name,
        "phase": record.phase.value,
        "reason": record.reason or "",
        "message": record.message,
    }


def _gateway(ref: DocumentRef, records: Mapping[ObjectKey, ObjectRecord]) -> dict[str, Any] | None:
    """The Environment's gateway and the services behind it, as its replicas see them; None where
    there is no gateway.
    """
    routes = records.get(ObjectKey(Kind.ROUTES, ref.name))
    app = next(
        (each for key, each in records.items() if key.kind == Kind.APP and each.document == ref),
        None,
    )
    if app is None:
        return None
    outputs = AppOutputs.load(app.outputs) if app.exists else None
    seen = RoutesOutputs.load(routes.outputs) if routes and routes.exists else None
    return {
        "name": app.key.name,
        "endpoint": outputs.endpoint if outputs else None,
        "services": [
            state.model_dump(mode="json", by_alias=True)
            for state in (seen.services if seen else ())
        ],
    }


def _service(ref: DocumentRef, records: Mapping[ObjectKey, ObjectRecord]) -> dict[str, Any]:
    record = records.get(ObjectKey(Kind.APP, ref.name))
    app = (AppOutputs.load(record.outputs) if record and record.exists else None) or AppOutputs()
    known = records.get(ObjectKey(Kind.CATALOGUE, ref.name))
    catalogue = CatalogueOutputs.load(known.outputs) if known and known.exists else None
    adapters = catalogue.adapters if catalogue else ()
    names = (name for name, _ in answering_adapters(catalogue, app))
    value: dict[str, Any] = {
        "endpoint": app.endpoint,
        "models": [ref.name, *names] if known else [],
        "adapters": [adapter.dump() for adapter in adapters],
        "revisions": [revision.dump() for revision in app.revisions],
        "replicas": [replica.dump() for replica in app.replicas],
        "lookedAt": app.arm.looked_at or None,
        "replicasLookedAt": app.arm.replicas_at or None,
    }
    if app.scheduled:
        value["scheduled"] = app.scheduled.dump()
    return value
