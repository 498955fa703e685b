"""What waits for a person, read from the store: `moorage approve` and the page list it and let it
go ahead. `sources.policy.grant` writes the approval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.api.reasons import Reason
from reconciler.engine.external import DocumentRef, Policy
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import DocumentRow, Store


@dataclass(frozen=True)
class Waiting:
    """What waits for a person in one document. `ends` are deletions and replacements. `changes` are
    the objects to create or change for `generation`, which wait because `syncPolicy.automated` is
    false; they are approved together.
    """

    document: DocumentRef
    generation: int
    ends: tuple[ObjectRecord, ...] = ()
    changes: tuple[ObjectRecord, ...] = ()

    @property
    def manual(self) -> bool:
        """Whether the document waits as a whole."""
        return bool(self.changes)


def waiting(store: Store, name: str = "") -> tuple[Waiting, ...]:
    """Everything that waits; with `name` (a document, its name or an object) only that."""
    return waiting_in(store.documents(), store.objects(), name)


def waiting_in(
    rows: Iterable[DocumentRow], records: Iterable[ObjectRecord], name: str = ""
) -> tuple[Waiting, ...]:
    """As `waiting`, for rows that were read already."""
    generations = {row.ref: row.generation for row in rows}
    found: dict[DocumentRef, tuple[list[ObjectRecord], list[ObjectRecord]]] = {}
    for record in records:
        ends, changes = found.setdefault(record.document, ([], []))
        if _ends(record) and _named(record, name):
            ends.append(record)
        elif _changes(record) and name in ("", str(record.document), record.document.name):
            changes.append(record)
    return tuple(
        Waiting(ref, generations.get(ref, 0), tuple(ends), tuple(changes))
        for ref, (ends, changes) in found.items()
        if ends or (changes and ref in generations)
    )


def _named(record: ObjectRecord, name: str) -> bool:
    return name in ("", str(record.document), record.document.name, str(record.key))


def _changes(record: ObjectRecord) -> bool:
    """A change that waits, for the approval of its own document or of another one."""
    return record.policy is Policy.ASK and not (record.synced or record.gone)


def _ends(record: ObjectRecord) -> bool:
    """Deletions and replacements that wait for an approval, and those that will wait once their
    grace period is over.
    """
    if record.policy is Policy.ASK and not record.gone:
        return False
    return record.reason is Reason.AWAITING_APPROVAL or (
        record.phase is Phase.LINGERING and record.reason is not Reason.RETAINED
    )
