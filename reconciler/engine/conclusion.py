"""The end of every pass, whatever happened in it: one record, one event, the facts for dependents,
the conditions.

It comes after `reconcile` or `deletion` and tells `controller` whom to wake.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from reconciler.api.reasons import Reason
from reconciler.engine.arguments import in_parts
from reconciler.engine.deletion_order import freed_by
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import Change, Desired, DocumentRef, Gone, ObjectKey, Policy
from reconciler.engine.ledger import Ledger
from reconciler.engine.reconcile import ABSENT, drifted, inputs
from reconciler.engine.record import AskedChange, ObjectRecord, Phase, public
from reconciler.engine.result import Outcome
from reconciler.engine.summary import Summary

EPISODE = 60.0  # seconds without throttling after which it is an event again


@dataclass
class Conclusion:
    ledger: Ledger
    summary: Summary
    _throttled: float = -math.inf  # when it last happened to any object

    def conclude(
        self, item: Desired | Gone, outcome: Outcome
    ) -> tuple[set[ObjectKey], set[ObjectKey]]:
        """Record the outcome of a pass over `item`. Returns the keys that may go on now, and those
        whose last look read facts that have changed.
        """
        before, facts = self.ledger.records.get(item.key), self.ledger.facts
        if outcome.observation:
            facts.see(item.key, outcome.observation)
        self._report(item, outcome, before)
        wake = self._deleted(item) if outcome.phase is Phase.DELETED else self._keep(item, outcome)
        outdated = facts.outdated(item.key) & self.ledger.desired.keys()
        documents = {item.document, *self._doubt(outdated)}
        if before is None or before.phase is not outcome.phase:
            documents |= self._waiting_for(item.key)
        for document in documents:
            self.refresh(document)
        return wake, outdated - wake

    def _waiting_for(self, key: ObjectKey) -> set[DocumentRef]:
        """The documents of the objects that wait for `key`, directly or through others: whether
        these documents progress depends on it.
        """
        found: dict[ObjectKey, DocumentRef] = {}
        left = [key]
        while left:
            for other in self.ledger.dependents(left.pop()) - found.keys():
                record = self.ledger.records.get(other)
                if record is not None and record.phase is Phase.WAITING:
                    found[other] = record.document
                    left.append(other)
        return set(found.values())

    def _doubt(self, keys: Iterable[ObjectKey]) -> set[DocumentRef]:
        """Mark the objects whose last look read facts that have changed. They may have to change
        too, so their documents are not done until the next look. Returns these documents.
        """
        documents = set()
        for key in keys:
            record = self.ledger.records.get(key)
            if record is None or not record.synced:
                continue
            documents.add(record.document)
            phase = Phase.PENDING if record.phase is Phase.READY else record.phase
            doubted = replace(record, phase=phase, synced=False, failed=False, message="")
            self.ledger.write(replace(doubted, reason=Reason.PROGRESSING))
        return documents

    def refresh(self, document: DocumentRef) -> None:
        """Update the conditions of `document`, or forget it when all its objects are deleted."""
        if self.ledger.close_document(document):
            self.summary.forget(document)
            self._event(normal(Reason.DELETED, f"{document} is gone", document, document))
            return
        for event in self.summary.update(document):
            self._event(event)

    def _report(self, item: Desired | Gone, outcome: Outcome, before: ObjectRecord | None) -> None:
        """One event per transition, and none for the same trouble again. Azure throttles a whole
        subscription, so only the first object that meets it makes an event.
        """
        told = outcome.reason is Reason.THROTTLED and self._throttles()
        moved = before is None or (before.phase, before.reason) != (outcome.phase, outcome.reason)
        if outcome.event is not None:
            self._event(outcome.event)
        elif outcome.reason is not None and outcome.troubled and moved and not told:
            self._event(warning(outcome.reason, outcome.message, item.key, item.document))
        elif outcome.reason is Reason.REGISTERING and moved:
            # Nothing is wrong, but the subscription is changed, and the wait may be over soon.
            self._event(normal(outcome.reason, outcome.message, item.key, item.document))

    def _throttles(self) -> bool:
        """Note that Azure throttles. Returns whether an event has said so already."""
        now = self.ledger.clock.elapsed()
        before, self._throttled = self._throttled, now
        return now - before < EPISODE

    def _event(self, event: Event) -> None:
        self.ledger.store.add_event(event, self.ledger.clock.now())

    def _deleted(self, item: Desired | Gone) -> set[ObjectKey]:
        self.ledger.forget(item.key)
        return freed_by(self.ledger, item)

    def _keep(self, item: Desired | Gone, outcome: Outcome) -> set[ObjectKey]:
        ledger, record = self.ledger, self.ledger.record(item)
        # A gone object has no spec; the record knows the one that it was last written for.
        wanted = item.fingerprint if isinstance(item, Desired) else record.fingerprint
        if outcome.observation is None:
            # Nobody looked: only a wait or a skip with an unchanged spec leaves it in sync.
            lasting = (
                outcome.phase in (Phase.WAITING, Phase.SKIPPED) and record.fingerprint == wanted
            )
            record = replace(record, synced=record.synced and lasting)
        moved = (record.phase, record.reason) != (outcome.phase, outcome.reason)
        left = ledger.gone.get(item.key)
        record = replace(
            self._seen(record, item, outcome),
            phase=outcome.phase,
            reason=outcome.reason,
            message=outcome.message,
            since=ledger.clock.elapsed() if moved else record.since,
            generation=item.generation,
            refs=item.refs,
            policy=item.policy,
            retain=item.retain,
            fingerprint=wanted,
            gone=left.since if left else 0.0,
        )
        ledger.write(record)
        if outcome.phase is Phase.RETAINED:
            ledger.gone.pop(item.key, None)
            return freed_by(ledger, item) - {item.key}
        return self._open(item, outcome, record)

    def _seen(self, record: ObjectRecord, item: Desired | Gone, outcome: Outcome) -> ObjectRecord:
        observed, ledger = outcome.observation, self.ledger
        if observed is None or isinstance(item, Gone):
            return record
        changes = observed.changes if observed.exists else (ABSENT,)
        as_desired = observed.exists and not changes and not observed.busy
        if as_desired:
            # A provisional state is not settled: a rollout goes on by itself, and its next
            # difference must not count as drift.
            record = replace(
                record,
                settled="" if observed.provisional else inputs(ledger, item),
                writes={},
                failure=None,
                drifted=False,
            )
        elif changes and not observed.busy:
            record = replace(record, drifted=drifted(ledger, item, changes))
        told = observed.outputs if observed.exists else None
        outputs = public(told.dump()) if told else {}
        # An object that a document renamed keeps the id under which it was seen last.
        identity = ledger.identity(item)
        return replace(
            record,
            id=identity.id if observed.exists else record.id,
            scope=identity.scope,
            exists=observed.exists,
            usable=observed.exists and (observed.ready or observed.serves),
            synced=as_desired and not (observed.held or observed.unfinished),
            failed=observed.failed and not changes,
            outputs=outputs,
            origin=observed.origin,
            changes=tuple(str(change) for change in changes),
            asks=_asks(item, (*changes, *observed.later)),
            marks=observed.marks,
            seen=ledger.clock.elapsed(),
        )

    def _open(self, item: Desired | Gone, outcome: Outcome, record: ObjectRecord) -> set[ObjectKey]:
        """Record whether dependents of `item` may go on. Returns the dependents to wake, because
        that or the facts of `item` changed.
        """
        ledger, key = self.ledger, item.key
        current = ledger.desired.get(key)
        if current is None or replace(current, generation=item.generation) != item:
            return set()  # changed under way; the next pass speaks for it
        was_pending = key in ledger.pending
        ledger.pending.discard(key)
        # An object that does not converge but is usable must not hold up its dependents.
        free = outcome.phase is Phase.READY or (
            outcome.phase is Phase.NOT_CONVERGING and record.usable
        )
        news = ledger.facts.set_open(key, free)
        return (
            set(ledger.dependents(key) & ledger.desired.keys())
            if news or (was_pending and free)
            else set()
        )


def _asks(item: Desired, changes: Iterable[Change]) -> tuple[AskedChange, ...]:
    """What a person is asked to approve. Only people read it: the loop looks again by itself."""
    if item.policy is not Policy.ASK:
        return ()
    return tuple(AskedChange.of(each) for change in changes for each in in_parts(change))
