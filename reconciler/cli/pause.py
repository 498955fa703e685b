"""`moorage pause`, `moorage resume` and `moorage reconcile`: what a person tells the daemon about a
document. `sources.orders` keeps it in the store, where the daemon reads it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import StateDir, Target, daemon_facts, open_store, writable_store
from reconciler.cli.exits import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.engine.external import DocumentRef
    from reconciler.engine.store import Store

Document = Annotated[str, typer.Argument(help="KIND/NAME or NAME.", metavar="DOCUMENT")]


def pause(document: Document, target: Target = None, state_dir: StateDir = None) -> None:
    """Write nothing for a document until moorage resume. The daemon keeps looking and reports what
    differs; what is deployed keeps serving.
    """
    from reconciler.sources.orders import order_pause

    ref, when = _tell(
        document, target, state_dir, lambda store, ref: order_pause(store, ref, time.time())
    )
    print(f"{ref} is paused: nothing is written for it until `moorage resume {ref.name}`{when}")


def resume(document: Document, target: Target = None, state_dir: StateDir = None) -> None:
    """Let the daemon write for a document again after moorage pause."""
    from reconciler.sources.orders import end_pause, paused_since

    def act(store: Store, ref: DocumentRef) -> None:
        if paused_since(store, ref) is None:
            raise CommandError(f"{ref} is not paused.")
        end_pause(store, ref, time.time())

    ref, when = _tell(document, target, state_dir, act)
    print(f"{ref} is resumed: the daemon makes it as its document says{when}")


def reconcile(document: Document, target: Target = None, state_dir: StateDir = None) -> None:
    """Let the daemon look at a document now. It waits neither for a retry nor for the next
    resync.
    """
    from reconciler.sources.orders import order_look

    ref, when = _tell(
        document, target, state_dir, lambda store, ref: order_look(store, ref, time.time())
    )
    print(f"{ref} is looked at{when or ' now; `moorage events --watch` shows what comes of it'}")


def _tell(
    document: str,
    target: Target,
    state_dir: StateDir,
    act: Callable[[Store, DocumentRef], None],
) -> tuple[DocumentRef, str]:
    """Do `act` with the store of the documents; which document that was, and what to add where no
    daemon runs.
    """
    readable, title, folder = open_store(target, state_dir)
    ref = _ref(readable, document, title)
    assert readable is not None
    key = readable.target
    readable.close()
    with writable_store(folder, key) as store:
        act(store, ref)
    return ref, _when(folder)


def _when(folder: Path) -> str:
    return (
        "" if daemon_facts(folder)["running"] else "; no daemon runs now, the next one acts on it"
    )


def _ref(store: Store | None, document: str, title: str) -> DocumentRef:
    found = [row.ref for row in store.documents()] if store else []
    matching = [ref for ref in found if document in (str(ref), ref.name)]
    if len(matching) > 1:
        raise CommandError(f"{document} is {' and '.join(map(str, matching))}: say which.")
    if not matching:
        names = ", ".join(map(str, found)) or "none"
        raise CommandError(f"There is no document {document!r} on the {title}; documents: {names}.")
    return matching[0]
