"""The conditions of a document, out of the records of its objects. Status is what was seen, never
what is hoped.

`conclusion` calls `update` after every pass; `ConditionSet.mark` is the only writer of a condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from reconciler.api.conditions import ConditionSet, ConditionType, Status
from reconciler.api.reasons import Cause, Reason
from reconciler.engine.document_state import DocumentState
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import DocumentRef, Mark, ObjectKey, Origin
from reconciler.engine.ledger import Ledger
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Pacing

# What to speak of first when several objects have something to say.
_GRAVITY = [
    Phase.STALLED,
    Phase.NOT_CONVERGING,
    Phase.BLOCKED,
    Phase.RETRYING,
    Phase.DELETING,
    Phase.LINGERING,
    Phase.UNREADY,
    Phase.WORKING,
    Phase.PENDING,
    Phase.WAITING,
    Phase.SKIPPED,
    Phase.READY,
    Phase.RETAINED,
    Phase.DELETED,
]
_OWN = {ConditionType.READY, ConditionType.SYNCED, ConditionType.STALLED, ConditionType.DRIFTED}
_WORST = [Status.FALSE, Status.UNKNOWN, Status.TRUE]
_SHOWN = 3


class Trouble(NamedTuple):
    """Something that wakes the loop fails. `documents` are those that it concerns; None means
    all.
    """

    reason: Cause
    message: str
    documents: frozenset[DocumentRef] | None


class Summary:
    """The conditions of all documents: loaded from the store, marked by `update`, written back only
    when they changed.
    """

    def __init__(self, ledger: Ledger, pacing: Pacing) -> None:
        self._ledger, self._pacing = ledger, pacing
        self._troubles: dict[str, Trouble] = {}
        self._observed = {row.ref: row.observed for row in ledger.store.documents()}
        self._sets = {
            row.ref: ConditionSet(self._now, row.conditions) for row in ledger.store.documents()
        }

    def conditions(self, document: DocumentRef) -> ConditionSet:
        return self._sets.setdefault(document, ConditionSet(self._now))

    def observed_generation(self, document: DocumentRef) -> int:
        """The generation at which every object of the document has been looked at."""
        return self._observed.get(document, 0)

    def set_trouble(self, name: str, trouble: Trouble | None) -> None:
        """Keep what is wrong with the edge `name`, until None says that nothing is."""
        if trouble is None:
            self._troubles.pop(name, None)
        else:
            self._troubles[name] = trouble

    def update(self, document: DocumentRef) -> Iterator[Event]:
        """State the document's conditions anew; an event for each change of `Ready`."""
        conditions, state = self.conditions(document), self._ledger.documents.get(document)
        was_ready = conditions.get(ConditionType.READY)
        gone = self._ledger.gone_documents.get(document)
        if state is not None:
            marks, generation = self._present(state), state.generation
            observed = self._generation(state)
        elif gone is not None:
            marks, generation = self._departing(document), gone.state.generation
            observed = self._observed.get(document, generation)
        else:
            return
        changed = self._mark(conditions, marks, generation, observed)
        if changed or observed != self._observed.get(document):
            self._observed[document] = observed
            self._ledger.store.put_conditions(document, observed, conditions)
        ready = conditions.get(ConditionType.READY)
        if ready is None or (
            ready.status == was_ready.status if was_ready else ready.status is not Status.TRUE
        ):
            return
        if ready.status is Status.TRUE:
            yield normal(Reason.READY, ready.message or f"{document} is ready", document, document)
        else:
            yield warning(Reason.NOT_READY, f"{ready.reason}: {ready.message}", document, document)

    def forget(self, document: DocumentRef) -> None:
        self._sets.pop(document, None)
        self._observed.pop(document, None)

    def _mark(
        self, conditions: ConditionSet, marks: Sequence[Mark], generation: int, observed: int
    ) -> bool:
        changed = False
        for mark in marks:
            # Synced, Stalled and Drifted speak of the version just saved, the others of the one
            # that was looked at.
            of = (
                observed
                if mark.type not in _OWN or mark.type is ConditionType.READY
                else generation
            )
            changed |= conditions.mark(
                mark.type, mark.status, mark.reason, mark.message, generation=of
            )
        stated = {mark.type for mark in marks}
        for condition in list(conditions):
            if stated and condition.type not in stated and condition.type not in _OWN:
                changed |= conditions.drop(condition.type)
        return changed

    def _present(self, state: DocumentState) -> list[Mark]:
        ledger = self._ledger
        keys = [key for key in ledger.objects(state.ref) if key in ledger.desired]
        records = [self._record(key, state.ref) for key in keys]
        leaving = [
            self._record(key, state.ref) for key in ledger.objects(state.ref) if key in ledger.gone
        ]
        marks = [_stalled(state, records), _synced(state, records, leaving)]
        if records or not (state.refusal or self._sets.get(state.ref)):
            marks.append(self._ready(records))
            marks.append(_drifted(records))
            marks += _marks(records)
        return [*marks, *self._watched(state.ref)]

    def _watched(self, document: DocumentRef) -> Iterator[Mark]:
        """There, and False, only while something fails that would notice a change."""
        for trouble in self._troubles.values():
            if trouble.documents is None or document in trouble.documents:
                yield Mark(ConditionType.WATCHED, Status.FALSE, trouble.reason, trouble.message)
                return

    def _departing(self, document: DocumentRef) -> list[Mark]:
        leaving = [self._record(key, document) for key in self._ledger.objects(document)]
        marks = [_leaving(leaving)]
        if any(record.phase is Phase.DELETING for record in leaving):
            marks.append(Mark(ConditionType.READY, Status.FALSE, Reason.DELETING))
        return marks

    def _ready(self, records: Sequence[ObjectRecord]) -> Mark:
        """Ready is what serves now: every object that nothing else of the document builds on, every
        other one that exists, and what other documents lend. A new part still on its way (an
        adapter being published) takes nothing away.
        """
        if records and all(record.phase is Phase.SKIPPED for record in records):
            return Mark(
                ConditionType.READY, Status.UNKNOWN, Reason.SKIPPED, "reconcilePolicy is Skip"
            )
        own = {record.key for record in records}
        inner = {ref for record in records for ref in self._refs(record.key)}
        lent = [
            self._record(ref, record.document)
            for record in records
            for ref in self._refs(record.key)
            if ref not in own
        ]
        needed = [record for record in records if record.exists or record.key not in inner]
        failing = [record for record in [*needed, *lent] if not record.usable]
        blind = [
            r
            for r in needed
            if r.phase is Phase.RETRYING
            and self._ledger.clock.elapsed() - (r.seen or 0) > self._pacing.blind
        ]
        if failing:
            worst = min(failing, key=lambda record: (_GRAVITY.index(record.phase), record.key))
            return Mark(ConditionType.READY, Status.FALSE, *_why_not(worst))
        if blind:
            return Mark(ConditionType.READY, Status.UNKNOWN, Reason.NOT_OBSERVED, blind[0].message)
        said = [
            mark
            for record in needed
            for mark in record.marks
            if (mark.type, mark.status) == (ConditionType.READY, Status.TRUE)
        ]
        if said:
            return Mark(ConditionType.READY, Status.TRUE, said[-1].reason, said[-1].message)
        special = [
            r
            for r in needed
            if r.phase is Phase.READY and r.synced and r.reason not in (None, Reason.IN_SYNC)
        ]
        if special:
            reason = special[-1].reason or Reason.ALL_GOOD
            return Mark(ConditionType.READY, Status.TRUE, reason, special[-1].message)
        return Mark(ConditionType.READY, Status.TRUE, Reason.ALL_GOOD)

    def _refs(self, key: ObjectKey) -> tuple[ObjectKey, ...]:
        item = self._ledger.desired.get(key)
        return item.refs if item else ()

    def _record(self, key: ObjectKey, document: DocumentRef) -> ObjectRecord:
        """As last seen, except that nobody has looked at a changed object yet."""
        record = self._ledger.records.get(key)
        if record is None:
            return ObjectRecord(key, document)
        changed = (
            key in self._ledger.pending
            and key in self._ledger.desired
            and not self._unchanged(record)
        )
        if not changed:
            return record
        return ObjectRecord(
            key,
            record.document,
            exists=record.exists,
            usable=record.usable,
            drifted=record.drifted,
            marks=record.marks,
            refs=record.refs,
            seen=record.seen,
            generation=record.generation,
        )

    def _unchanged(self, record: ObjectRecord) -> bool:
        """After a restart a record is believed until somebody looks, provided it is of what is
        desired now.
        """
        return record.fingerprint == self._ledger.desired[record.key].fingerprint

    def _generation(self, state: DocumentState) -> int:
        if state.refusal:
            return state.generation
        ledger = self._ledger
        keys = [key for key in ledger.objects(state.ref) if key in ledger.desired]
        if any(key not in ledger.records for key in keys):
            return self._observed.get(state.ref, 0)
        return min((ledger.records[key].generation for key in keys), default=state.generation)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._ledger.clock.now(), UTC)


def _stalled(state: DocumentState, records: Iterable[ObjectRecord]) -> Mark:
    refusal = state.refusal
    if refusal and not refusal.waits:
        return Mark(ConditionType.STALLED, Status.TRUE, refusal.reason, refusal.message)
    stalled = [record for record in records if record.phase is Phase.STALLED]
    if stalled:
        reason = stalled[0].reason or Reason.INTERNAL_ERROR
        return Mark(ConditionType.STALLED, Status.TRUE, reason, _messages(stalled))
    return Mark(ConditionType.STALLED, Status.FALSE, Reason.NOT_STALLED)


def _synced(
    state: DocumentState, records: Sequence[ObjectRecord], leaving: Sequence[ObjectRecord]
) -> Mark:
    if state.refusal:
        reason, message = state.refusal.reason, state.refusal.message
        return Mark(ConditionType.SYNCED, Status.FALSE, reason, message)
    behind = [
        record for record in records if not record.synced and record.phase is not Phase.SKIPPED
    ]
    if behind:
        gravest = min(_GRAVITY.index(record.phase) for record in behind)
        first = [record for record in behind if _GRAVITY.index(record.phase) == gravest]
        reason = first[0].reason or Reason.PROGRESSING
        return Mark(ConditionType.SYNCED, Status.FALSE, reason, _messages(first))
    if leaving:
        return _leaving(leaving)
    if records and all(record.phase is Phase.SKIPPED for record in records):
        return Mark(ConditionType.SYNCED, Status.UNKNOWN, Reason.SKIPPED, "reconcilePolicy is Skip")
    return Mark(ConditionType.SYNCED, Status.TRUE, Reason.IN_SYNC)


def _leaving(leaving: Sequence[ObjectRecord]) -> Mark:
    """What no document wants any more keeps a document out of sync until it is gone."""
    asking = [record for record in leaving if record.reason == Reason.AWAITING_APPROVAL]
    if asking:
        ends = {
            "delete": [r for r in asking if r.origin is Origin.OURS],
            "release": [r for r in asking if r.origin is not Origin.OURS],
        }
        would = " and ".join(
            f"{verb} {', '.join(str(r.key) for r in records)}"
            for verb, records in ends.items()
            if records
        )
        message = f"would {would}; `moorage approve` or prune: true lets it"
        return Mark(ConditionType.SYNCED, Status.FALSE, Reason.AWAITING_APPROVAL, message)
    if not leaving:
        return Mark(ConditionType.SYNCED, Status.FALSE, Reason.DELETING)
    worst = min(
        leaving, key=lambda record: (_GRAVITY.index(record.phase), record.reason is Reason.RETAINED)
    )
    reason = worst.reason if worst.phase in (Phase.STALLED, Phase.BLOCKED, Phase.RETRYING) else None
    return Mark(ConditionType.SYNCED, Status.FALSE, reason or Reason.DELETING, _messages([worst]))


def _drifted(records: Iterable[ObjectRecord]) -> Mark:
    drifted = [record for record in records if record.drifted]
    if not drifted:
        return Mark(ConditionType.DRIFTED, Status.FALSE, Reason.NO_DRIFT)
    message = "; ".join(
        f"{record.key}: {', '.join(record.changes[:_SHOWN])}" for record in drifted[:_SHOWN]
    )
    return Mark(ConditionType.DRIFTED, Status.TRUE, Reason.DRIFT_FOUND, message)


def _marks(records: Iterable[ObjectRecord]) -> list[Mark]:
    """The kinds' own conditions; where several objects speak of the same, the worst is
    what counts.
    """
    known = {kind.value for kind in ConditionType if kind not in _OWN}
    worst: dict[str, Mark] = {}
    for mark in (mark for record in records for mark in record.marks if mark.type in known):
        before = worst.get(mark.type)
        if before is None or _WORST.index(Status(mark.status)) < _WORST.index(
            Status(before.status)
        ):
            worst[mark.type] = mark
    return [
        Mark(ConditionType(kind), Status(mark.status), mark.reason, mark.message)
        for kind, mark in worst.items()
    ]


def _why_not(record: ObjectRecord) -> tuple[Cause, str]:
    if record.reason in (None, Reason.IN_SYNC):
        failed = [mark for mark in record.marks if mark.status is Status.FALSE]
        return (
            (failed[0].reason, failed[0].message)
            if failed
            else (Reason.PROGRESSING, f"{record.key} is not ready yet")
        )
    return record.reason, record.message


def _messages(records: Sequence[ObjectRecord]) -> str:
    texts = list(
        dict.fromkeys(record.message or f"{record.key} is not looked at yet" for record in records)
    )
    more = f" (and {len(texts) - _SHOWN} more)" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more
