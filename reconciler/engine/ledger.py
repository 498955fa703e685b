"""What is desired, what is gone and what was last seen: the one state that `reconcile`, `deletion`,
`summary` and `plan` share.

All of it is in memory; records are written through to `store`. Its only decision is what counts as
changed or gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.api.reasons import Reason
from reconciler.engine.clock import Clock
from reconciler.engine.document_state import DocumentState, GoneDocument, with_implicit
from reconciler.engine.external import Desired, DocumentRef, Gone, Identity, ObjectKey, Origin
from reconciler.engine.facts import FactBook
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import Store

BURST = 30.0  # seconds within which documents that disappear count as one event
LISTED_LATE = 30.0  # seconds in which ARM's lists may still hold a deleted object


@dataclass
class Ledger:
    """`pending` holds the keys nobody has looked at since they changed or since
    this process began.
    """

    store: Store
    clock: Clock
    identify: Callable[[Desired], Identity]
    desired: dict[ObjectKey, Desired] = field(default_factory=dict)
    gone: dict[ObjectKey, Gone] = field(default_factory=dict)
    documents: dict[DocumentRef, DocumentState] = field(default_factory=dict)
    gone_documents: dict[DocumentRef, GoneDocument] = field(default_factory=dict)
    records: dict[ObjectKey, ObjectRecord] = field(default_factory=dict)
    pending: set[ObjectKey] = field(default_factory=set)
    complete: bool = False
    purge: bool = False
    facts: FactBook = field(init=False)
    _listed_until: dict[ObjectKey, float] = field(default_factory=dict)
    _dependents: dict[ObjectKey, set[ObjectKey]] = field(default_factory=dict)
    _objects: dict[DocumentRef, list[ObjectKey]] = field(default_factory=dict)
    _wanted: dict[str, ObjectKey] | None = None  # by id; made when something is gone

    def __post_init__(self) -> None:
        self.facts = FactBook(self._remembered)
        self._load()
        for row in self.store.documents():
            # Known from an earlier life; `replace` decides whether they are still there.
            self.documents[row.ref] = DocumentState(row.ref, row.generation, row.scope, row.prune)
        self._index()

    def replace(
        self,
        desired: Sequence[Desired],
        documents: Sequence[DocumentState],
        *,
        complete: bool,
        purge: bool,
    ) -> set[ObjectKey]:
        """Take over the whole desired set. Returns the keys that changed, appeared or went.

        With `complete=False` (a source could not be read) a missing document stays as it was. With
        `purge` a gone object is deleted even if it was to be retained.
        """
        now, self.complete, self.purge = self.clock.elapsed(), complete, purge
        wanted = {item.key: item for item in desired}
        present = {state.ref: state for state in with_implicit(documents, desired)}
        # A refused document keeps what it had: a bad save must not delete what serves.
        frozen = {ref for ref, state in present.items() if state.refusal}
        if not complete:
            absent = {ref: state for ref, state in self.documents.items() if ref not in present}
            present |= absent
            frozen |= absent.keys()
        kept = {
            key: item
            for key, item in self.desired.items()
            if item.document in frozen and key not in wanted
        }
        wanted |= kept
        changed = {key for key, item in wanted.items() if not _same(self.desired.get(key), item)}
        changed |= self._notice_gone(wanted, frozen, now) | self._newly_permitted(present)
        self._notice_gone_documents(present, now)
        self._remember_generations(wanted, changed)
        # Last, because all of the above compare with the set before.
        self.desired, self.documents, self._wanted = wanted, present, None
        self.pending |= {key for key in changed if key in wanted}
        self.pending &= wanted.keys()
        self._index()
        return changed

    def concerned(
        self, before: Mapping[DocumentRef, DocumentState], changed: Collection[ObjectKey]
    ) -> set[DocumentRef]:
        """The documents whose conditions a new desired set may change: those that differ from
        `before`, those of the `changed` objects, and all gone ones.
        """
        found = {ref for ref, state in self.documents.items() if before.get(ref) != state}
        found |= {item.document for key in changed if (item := self.desired.get(key))}
        return found | self.gone_documents.keys()

    def add_orphans(self, orphans: Iterable[Desired | Gone]) -> set[ObjectKey]:
        """Take a list of objects that carry our owner mark. Returns the keys of those that no
        document asks for and that were not known.
        """
        if not self.complete:
            # With a source unread nobody knows what the documents still ask for.
            return set()
        now, changed = self.clock.elapsed(), set()
        for orphan in orphans:
            key = orphan.key
            state = self.documents.get(orphan.document)
            retained = (
                record := self.records.get(key)
            ) is not None and record.phase is Phase.RETAINED
            if key in self.gone:
                self.gone[key] = replace(self.gone[key], listed=True)
                continue
            # ARM's lists still name for a while what has been deleted.
            late = now < self._listed_until.get(key, 0.0)
            if late or key in self.desired or retained or (state and state.refusal):
                continue
            self.gone[key] = replace(self._gone(orphan, now), listed=True)
            if state is None and orphan.document not in self.gone_documents:
                self.gone_documents[orphan.document] = GoneDocument(
                    DocumentState(orphan.document), now
                )
                self.store.put_document(orphan.document, orphan.generation, "", prune=False)
            changed.add(key)
        if changed:
            self._judge_burst(now)
            self._index()
        return changed

    def record(self, item: Desired | Gone) -> ObjectRecord:
        """What is remembered of the object; a record without a look if nothing is."""
        if (known := self.records.get(item.key)) is not None:
            return known
        identity = self.identity(item)
        return ObjectRecord(
            item.key, item.document, id=identity.id, scope=identity.scope, origin=identity.origin
        )

    def identity(self, item: Desired | Gone) -> Identity:
        return item.identity if isinstance(item, Gone) else self.identify(item)

    def write(self, record: ObjectRecord) -> None:
        """Keep `record`, in the store too if more than the time of the last look differs."""
        before = self.records.get(record.key)
        self.records[record.key] = record
        if before is None or replace(before, seen=record.seen) != record:
            self.store.put_object(record)

    def forget(self, key: ObjectKey) -> None:
        """The object is deleted: forget all of it."""
        self.gone.pop(key, None)
        self.records.pop(key, None)
        self.facts.forget(key)
        self._listed_until[key] = self.clock.elapsed() + LISTED_LATE
        self.store.drop_object(key)
        for verb in ("delete", "replace"):
            self.store.revoke(key, verb)
        self._index()

    def close_document(self, document: DocumentRef) -> bool:
        """Forget a gone document when all its objects are deleted. Returns whether it was forgotten
        now.
        """
        if document not in self.gone_documents or any(
            gone.document == document for gone in self.gone.values()
        ):
            return False
        del self.gone_documents[document]
        self.store.drop_document(document)
        return True

    def _load(self) -> None:
        """Load the records. Their times belong to the boot that wrote them: after a reboot nobody
        knows how long ago they were.
        """
        now, same = self.clock.elapsed(), self.store.get("boot") == self.clock.boot
        for stored in self.store.objects():
            record = stored if same else stored.after_boot(now)
            if not same:
                self.store.put_object(record)
            self.records[record.key] = record
        self.store.put("boot", self.clock.boot)

    # readiness

    def open(self, key: ObjectKey) -> bool:
        """Whether dependents of `key` may go on: it is ready, and as its document now wants it."""
        return self.facts.open(key) and key not in self.pending

    def unready(self, desired: Desired) -> tuple[ObjectKey, ...]:
        return tuple(ref for ref in desired.refs if not self.open(ref))

    def dependents(self, key: ObjectKey) -> frozenset[ObjectKey]:
        """Everything known that refers to `key`, whether desired, gone or only remembered."""
        return frozenset(self._dependents.get(key, ()))

    def objects(self, document: DocumentRef) -> list[ObjectKey]:
        """Desired and gone keys of a document, in the order they were given."""
        return list(self._objects.get(document, ()))

    def retained(self, key: ObjectKey) -> bool:
        """Whether a gone object stays in place, for its own sake, because a retained object needs
        it, or because it is asked for under another name.
        """
        gone, record = self.gone.get(key), self.records.get(key)
        if self.needed_by(key) or self.also_asked_for_as(key):
            return True
        if self.purge:
            return False
        own = gone.retain if gone else bool(record and record.retain)
        if own or (record is not None and record.phase is Phase.RETAINED):
            return True
        return any(
            self.retained(other) for other in self.dependents(key) if other not in self.desired
        )

    def adopted(self, key: ObjectKey) -> bool:
        """Whether the object existed before any document asked for it. Such an object is released,
        never deleted.
        """
        gone, record = self.gone.get(key), self.records.get(key)
        origins = {each.origin for each in (record, gone.identity if gone else None) if each}
        return bool(origins - {Origin.OURS})

    def needed_by(self, key: ObjectKey) -> ObjectKey | None:
        """The adopted object that no document asks for any more and that goes on using `key`. Not
        even a purge may delete `key` then.
        """
        for other in sorted(self.dependents(key) - self.desired.keys()):
            if found := other if self.adopted(other) else self.needed_by(other):
                return found
        return None

    def also_asked_for_as(self, key: ObjectKey) -> ObjectKey | None:
        """The desired object that is the same resource as the gone `key`: two Environments may
        name one workspace, and a renamed document goes on with its resources.
        """
        if self._wanted is None:
            self._wanted = {
                self.identify(item).id.casefold(): item.key for item in self.desired.values()
            }
        gone, record = self.gone.get(key), self.records.get(key)
        known = gone.identity.id if gone else record.id if record else ""
        return self._wanted.get(known.casefold()) if known else None

    def permits(self, item: Desired | Gone, verb: str) -> bool:
        """Whether `prune` or a person's approval permits the `verb` (`delete` or `replace`)."""
        if self.store.approved(item.key, verb):
            return True
        gone = self.gone_documents.get(item.document)
        if gone is None:
            state = self.documents.get(item.document)
            return state is not None and state.prune
        # The policy of a gone document no longer counts. The documents that share its scope decide,
        # if there are any.
        peers = [
            state
            for state in self.documents.values()
            if state.scope and state.scope == gone.state.scope
        ]
        return not gone.needs_person and any(state.prune for state in peers or [gone.state])

    def _notice_gone(
        self, wanted: Mapping[ObjectKey, Desired], frozen: set[DocumentRef], now: float
    ) -> set[ObjectKey]:
        """Note the objects that no document asks for any more, and those that came back."""
        for key in [key for key in self.gone if key in wanted]:
            del self.gone[key]
            self.store.revoke(key, "delete")
        changed = set()
        candidates: dict[ObjectKey, Desired | Gone] = dict(self.desired)
        for key, record in self.records.items():
            # A released object is its owner's again; a retained one of ours can still be purged.
            spared = record.phase is Phase.RETAINED and (
                not self.purge or self.adopted(key) or self.needed_by(key)
            )
            if key not in candidates and not spared:
                candidates[key] = _remembered(record)
        for key, item in candidates.items():
            if key not in wanted and key not in self.gone and item.document not in frozen:
                known = self.records.get(key)  # an earlier process may have noticed it
                self.gone[key] = self._gone(item, known.gone if known and known.gone else now)
                self.facts.close(key)
                changed.add(key)
        return changed

    def _newly_permitted(self, present: Mapping[DocumentRef, DocumentState]) -> set[ObjectKey]:
        """The objects that wait for an approval, if a document has just set `prune`."""
        if not any(
            state.prune and ref in self.documents and not self.documents[ref].prune
            for ref, state in present.items()
        ):
            return set()
        asking = {
            key for key, record in self.records.items() if record.reason == Reason.AWAITING_APPROVAL
        }
        return asking & (self.desired.keys() | self.gone.keys())

    def _notice_gone_documents(
        self, present: Mapping[DocumentRef, DocumentState], now: float
    ) -> None:
        for ref in [ref for ref in self.gone_documents if ref in present]:
            del self.gone_documents[ref]
        for ref, state in self.documents.items():
            if ref not in present:
                self.gone_documents[ref] = GoneDocument(state, now)
        for ref, state in present.items():
            before = self.documents.get(ref)
            if before is None or (
                before != state and replace(before, refusal=state.refusal) != state
            ):
                self.store.put_document(ref, state.generation, state.scope, state.prune)
        self._judge_burst(now, len(present))

    def _judge_burst(self, now: float, present: int | None = None) -> None:
        """When more than half of the documents disappear at once, the cause is more likely an
        unmounted folder or a wrong path than a decision. One document that disappears is a
        decision, because a set of one document must be deletable.
        """
        present = len(self.documents) if present is None else present
        burst = [ref for ref, gone in self.gone_documents.items() if now - gone.since < BURST]
        if len(burst) > 1 and 2 * len(burst) > present + len(burst):
            for ref in burst:
                self.gone_documents[ref] = replace(self.gone_documents[ref], needs_person=True)

    def _remember_generations(
        self, wanted: Mapping[ObjectKey, Desired], changed: set[ObjectKey]
    ) -> None:
        """Objects that a save left unchanged count as observed at its generation."""
        for key, item in wanted.items():
            record = self.records.get(key)
            if (
                record
                and key not in changed
                and key not in self.pending
                and record.generation != item.generation
            ):
                self.write(replace(record, generation=item.generation))

    def _remembered(self, key: ObjectKey) -> Mapping[str, Any]:
        record = self.records.get(key)
        return record.outputs if record else {}

    def _gone(self, item: Desired | Gone, since: float) -> Gone:
        identity, known = self.identity(item), self.records.get(item.key)
        if known is not None:
            identity = replace(identity, origin=known.origin)
        return Gone(
            identity,
            item.document,
            item.refs,
            item.generation,
            item.policy,
            item.retain,
            since,
        )

    def _index(self) -> None:
        self._dependents, self._objects = defaultdict(set), defaultdict(list)
        refs = {key: record.refs for key, record in self.records.items()}
        refs |= {key: gone.refs for key, gone in self.gone.items()}
        refs |= {key: item.refs for key, item in self.desired.items()}
        for key, others in refs.items():
            for other in others:
                self._dependents[other].add(key)
        items: list[Desired | Gone] = [*self.desired.values(), *self.gone.values()]
        for item in items:
            self._objects[item.document].append(item.key)


def _same(before: Desired | None, after: Desired) -> bool:
    # What a save left as it was is mostly the same object.
    return before is after or (
        before is not None and replace(before, generation=after.generation) == after
    )


def _remembered(record: ObjectRecord) -> Gone:
    """An object that an earlier process left and that no document asks for now."""
    return Gone(
        Identity(record.key, record.id, record.scope, record.origin),
        record.document,
        record.refs,
        record.generation,
        record.policy,
        record.retain,
    )
