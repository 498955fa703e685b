"""The conditions of a document, out of the records of its objects. Status is what was seen, never
what is hoped.

`conclusion` calls `update` after every pass; `ConditionSet.mark` is the only writer of a condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from reconciler.api.conditions import ConditionSet, ConditionType, Status
from reconciler.api.reasons import Cause, Reason
from reconciler.engine import statements
from reconciler.engine.blockers import waiting_for
from reconciler.engine.document_state import DocumentState
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import DocumentRef, Mark, ObjectKey
from reconciler.engine.ledger import Ledger
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Pacing
from reconciler.engine.verdict import stands


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
        """State the document's conditions again; an event for each change of `Ready`."""
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
            # A new document starts unready, which is no event.
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
            # Synced, Stalled and Drifted are about the version just saved, the others about the
            # one that was observed.
            of = (
                observed
                if mark.type not in statements.OWN or mark.type is ConditionType.READY
                else generation
            )
            changed |= conditions.mark(
                mark.type, mark.status, mark.reason, mark.message, generation=of
            )
        stated = {mark.type for mark in marks}
        for condition in list(conditions):
            if stated and condition.type not in stated and condition.type not in statements.OWN:
                changed |= conditions.drop(condition.type)
        return changed

    def _present(self, state: DocumentState) -> list[Mark]:
        ledger = self._ledger
        keys = [key for key in ledger.objects(state.ref) if key in ledger.desired]
        records = [self._record(key, state.ref) for key in keys]
        leaving = [
            self._record(key, state.ref) for key in ledger.objects(state.ref) if key in ledger.gone
        ]
        marks = [
            statements.stalled(state, records),
            statements.synced(state, records, leaving),
            statements.progressing(
                state, [*records, *leaving], [key for key in keys if stands(ledger, key)]
            ),
        ]
        if records or not (state.refusal or self._sets.get(state.ref)):
            marks.append(self._ready(records))
            marks.append(statements.drifted(records))
            marks += statements.kinds_own(records)
        return [*marks, *self._watched(state.ref)]

    def _watched(self, document: DocumentRef) -> Iterator[Mark]:
        """The condition exists, and is False, only while something that notices changes fails."""
        for trouble in self._troubles.values():
            if trouble.documents is None or document in trouble.documents:
                yield Mark(ConditionType.WATCHED, Status.FALSE, trouble.reason, trouble.message)
                return

    def _departing(self, document: DocumentRef) -> list[Mark]:
        leaving = [self._record(key, document) for key in self._ledger.objects(document)]
        marks = [statements.departing(leaving)]
        if any(record.phase is Phase.DELETING for record in leaving):
            marks.append(Mark(ConditionType.READY, Status.FALSE, Reason.DELETING))
        return marks

    def _ready(self, records: Sequence[ObjectRecord]) -> Mark:
        """Ready means that what serves now is usable. It covers the objects that no other object of
        the document refers to, the others as far as they exist, and the objects of other documents
        that these refer to. A new part on its way (an adapter being published) takes nothing away.
        """
        if records and all(record.phase is Phase.SKIPPED for record in records):
            return _ready(Status.UNKNOWN, Reason.SKIPPED, "reconcilePolicy is Skip")
        refs = {record.key: self._refs(record.key) for record in records}
        inner = {ref for each in refs.values() for ref in each}
        needed = [record for record in records if record.exists or record.key not in inner]
        lent = [
            self._record(ref, record.document)
            for record in records
            for ref in refs[record.key]
            if ref not in refs
        ]
        if failing := [record for record in [*needed, *lent] if not record.usable]:
            worst = min(failing, key=lambda one: (statements.GRAVITY.index(one.phase), one.key))
            return _ready(Status.FALSE, *statements.why_not(worst))
        # After the failures: a known failure outweighs an object that nobody could look at.
        if blind := next(filter(self._is_blind, needed), None):
            return _ready(Status.UNKNOWN, Reason.NOT_OBSERVED, blind.message)
        if against := statements.against(statements.kinds_own(needed)):
            return _ready(against.status, against.reason, against.message)
        return _ready(Status.TRUE, *_said(needed))

    def _is_blind(self, record: ObjectRecord) -> bool:
        """Whether nobody could look at it for so long that what was seen does not count."""
        unseen = self._ledger.clock.elapsed() - (record.seen or 0)
        return record.phase is Phase.RETRYING and unseen > self._pacing.blind

    def _refs(self, key: ObjectKey) -> tuple[ObjectKey, ...]:
        item = self._ledger.desired.get(key)
        return item.refs if item else ()

    def _record(self, key: ObjectKey, document: DocumentRef) -> ObjectRecord:
        """The record as last seen. Of an object that has changed since, only what still counts."""
        record = self._ledger.records.get(key)
        if record is None:
            return ObjectRecord(key, document)
        changed = (
            key in self._ledger.pending
            and key in self._ledger.desired
            and not self._unchanged(record)
        )
        if not changed:
            return self._waiting(record)
        return ObjectRecord(
            key,
            record.document,
            # Without phase and reason, which described the object before the change.
            exists=record.exists,
            usable=record.usable,
            drifted=record.drifted,
            marks=record.marks,
            refs=record.refs,
            seen=record.seen,
            generation=record.generation,
        )

    def _waiting(self, record: ObjectRecord) -> ObjectRecord:
        """The record with a fresh message: what it waits for may have changed since its pass."""
        item = self._ledger.desired.get(record.key)
        if item is None or record.reason is not Reason.WAITING_FOR_REFERENCE:
            return record
        unready = self._ledger.unready(item)
        return replace(record, message=waiting_for(self._ledger, unready)) if unready else record

    def _unchanged(self, record: ObjectRecord) -> bool:
        """Whether the record is of the spec desired now. After a restart such a record counts until
        the first look.
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


def _ready(status: Status, reason: Cause, message: str = "") -> Mark:
    return Mark(ConditionType.READY, status, reason, message)


def _said(records: Sequence[ObjectRecord]) -> tuple[Cause, str]:
    """The message of the last usable object: from one of its marks, else from its reason."""
    told = [mark for record in records for mark in record.marks if _is_ready(mark)]
    if told:
        return told[-1].reason, told[-1].message
    for record in reversed(records):
        reason = record.reason
        done = record.phase is Phase.READY and record.synced
        if done and reason and reason != Reason.IN_SYNC:
            return reason, record.message
    return Reason.ALL_GOOD, ""


def _is_ready(mark: Mark) -> bool:
    return (mark.type, mark.status) == (ConditionType.READY, Status.TRUE)
