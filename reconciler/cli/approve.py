"""`moorage approve`: let deletions, replacements and, where syncPolicy.automated is false, changes
go ahead.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.api.reasons import Reason
from reconciler.cli.context import StateDir, Target, Yes, ask, open_store, writable_store
from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.engine.external import DocumentRef
    from reconciler.engine.record import ObjectRecord
    from reconciler.engine.store import Store


def approve(
    document: Annotated[
        str,
        typer.Argument(
            help="KIND/NAME or NAME; everything that waits, if left out.", metavar="DOCUMENT"
        ),
    ] = "",
    yes: Yes = False,
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Approve what waits for a person, once."""
    store, title, folder = open_store(target, state_dir)
    if store is None:
        raise CommandError("Nothing is known to wait for approval.", Exit.FAILED)
    waiting = [record for record in store.objects() if _waits(record) and _names(record, document)]
    manual = [row.ref for row in store.documents() if _manual(store, row.ref, document)]
    generations = {row.ref: row.generation for row in store.documents()}
    key = store.target
    store.close()
    if not waiting and not manual:
        raise CommandError(
            f"Nothing waits for approval{' of ' + document if document else ''} on the {title}.",
            Exit.FAILED,
        )
    print(f"target: {title}")
    for record in waiting:
        print(f"- {record.message or record.key}")
    for ref in manual:
        print(f"~ {ref}: changes of generation {generations[ref]}")
    if not yes:
        ask("Go ahead?", "This would approve what is listed.")
    with writable_store(folder, key) as writable:
        _grant(writable, waiting, manual)
    print("approved; a running daemon acts on it at once")


def _grant(store: Store, waiting: Sequence[ObjectRecord], manual: Sequence[DocumentRef]) -> None:
    from reconciler.sources.policy import approve_version

    for record in waiting:
        for verb in ("delete", "replace"):
            store.approve(record.key, verb)
    for ref in manual:
        approve_version(store, ref)
    store.put("approvals", str(time.time()))


def _waits(record: ObjectRecord) -> bool:
    """Deletions and replacements that wait for an approval, and those that will wait once their
    grace period is over.
    """
    if record.policy.value == "Ask" and not record.gone:
        return False  # see _manual
    from reconciler.engine.record import Phase

    return record.reason is Reason.AWAITING_APPROVAL or (
        record.phase is Phase.LINGERING and record.reason is not Reason.RETAINED
    )


def _names(record: ObjectRecord, document: str) -> bool:
    return not document or document in (str(record.document), record.document.name, str(record.key))


def _manual(store: Store, ref: DocumentRef, document: str) -> bool:
    """Whether a document has objects that wait to be created or changed, either for its own
    approval or for that of another document.
    """
    if document and document not in (str(ref), ref.name):
        return False
    return any(
        r.document == ref and r.policy.value == "Ask" and not (r.synced or r.gone)
        for r in store.objects()
    )
