"""The resources of a document as a graph: each with its state, its dependencies, and the leaf that
explains why it is not well. Pure, from the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.statements import GRAVITY
from reconciler.web.axes import Tone

_TONES = {
    Phase.READY: Tone.GOOD,
    Phase.RETAINED: Tone.QUIET,
    Phase.SKIPPED: Tone.QUIET,
    Phase.DELETED: Tone.QUIET,
    Phase.STALLED: Tone.BAD,
    Phase.NOT_CONVERGING: Tone.BAD,
    Phase.BLOCKED: Tone.WARN,
    Phase.RETRYING: Tone.WARN,
}


@dataclass(frozen=True)
class ResourceNode:
    """One resource. `leaf` is the resource to read about: itself, or what it waits for."""

    key: ObjectKey
    document: DocumentRef
    tone: Tone
    phase: str
    reason: str
    message: str
    refs: tuple[ObjectKey, ...]
    leaf: ObjectKey | None

    @property
    def anchor(self) -> str:
        return anchor(self.key)


def anchor(key: ObjectKey) -> str:
    """The id of a resource's row on the page."""
    return f"{key.kind}-{key.name}".replace("/", "-")


def tone_of(record: ObjectRecord) -> Tone:
    """`Unready` is a fault only where it does not pass by itself."""
    if record.phase is Phase.UNREADY and record.failed:
        return Tone.BAD
    return _TONES.get(record.phase, Tone.BUSY)


def graph_of(
    own: Iterable[ObjectKey], records: Mapping[ObjectKey, ObjectRecord]
) -> list[ResourceNode]:
    """The resources `own` of a document and those of other documents that they depend on,
    references first.
    """
    return [_node(records[key], records) for key in _ordered(own, records)]


def leaf_of(key: ObjectKey, records: Mapping[ObjectKey, ObjectRecord]) -> ObjectKey | None:
    """The deepest resource below `key` that is not well, which explains the others; None if all
    are.
    """
    leaf, seen = None, set[ObjectKey]()
    at: ObjectKey | None = key
    while at is not None and at not in seen:
        seen.add(at)
        leaf = at if _unwell(records[at]) else leaf
        below = [ref for ref in records[at].refs if ref in records and _unwell(records[ref])]
        at = min(below, key=lambda ref: (GRAVITY.index(records[ref].phase), ref), default=None)
    return leaf


def _node(record: ObjectRecord, records: Mapping[ObjectKey, ObjectRecord]) -> ResourceNode:
    return ResourceNode(
        record.key,
        record.document,
        tone_of(record),
        record.phase.value,
        str(record.reason or ""),
        record.message,
        tuple(ref for ref in record.refs if ref in records),
        leaf_of(record.key, records),
    )


def _unwell(record: ObjectRecord) -> bool:
    return tone_of(record) in (Tone.BAD, Tone.WARN, Tone.BUSY)


def _ordered(
    keys: Iterable[ObjectKey], records: Mapping[ObjectKey, ObjectRecord]
) -> list[ObjectKey]:
    found: dict[ObjectKey, None] = {}

    def visit(key: ObjectKey, path: frozenset[ObjectKey]) -> None:
        if key in found or key in path or key not in records:
            return
        for ref in records[key].refs:
            visit(ref, path | {key})
        found[key] = None

    for key in keys:
        visit(key, frozenset())
    return list(found)
