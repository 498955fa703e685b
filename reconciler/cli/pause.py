"""`moorage pause`, `moorage resume` and `moorage reconcile`: what a person tells the daemon about a
document. `sources.pauses` and `sources.orders` keep it in the store, where the daemon reads it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import (
    StateDir,
    Target,
    daemon_facts,
    open_store,
    writable_store,
)
from reconciler.cli.exits import CommandError
from reconciler.cli.orders import say_order
from reconciler.cli.output.envelope import Output, check_output
from reconciler.cli.output.subject import subject_in
from reconciler.cli.unknown import unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.engine.external import DocumentRef
    from reconciler.engine.store import Store

Document = Annotated[str, typer.Argument(help="KIND/NAME or NAME.", metavar="DOCUMENT")]


def pause(
    document: Document,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Write nothing for a document until moorage resume. The daemon keeps looking and reports what
    differs; what is deployed keeps serving.
    """
    from reconciler.sources.decisions import caller
    from reconciler.sources.pauses import order_pause

    said = "{ref} is paused: nothing is written for it until `moorage resume {ref.name}`"
    _tell(
        "pause",
        (document, target, state_dir, output),
        lambda store, ref: order_pause(store, ref, time.time(), caller()),
        said,
        said,
    )


def resume(
    document: Document,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Let the daemon write for a document again after moorage pause."""
    from reconciler.sources.decisions import caller
    from reconciler.sources.pauses import end_pause, pause_of

    def act(store: Store, ref: DocumentRef) -> None:
        if pause_of(store, ref) is None:
            raise CommandError(f"{ref} is not paused.")
        end_pause(store, ref, time.time(), caller())

    _tell(
        "resume",
        (document, target, state_dir, output),
        act,
        "{ref} is resumed: the daemon makes it as its document says",
        "{ref} is resumed. No daemon runs now; the next one makes it as its document says",
    )


def reconcile(
    document: Document,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Let the daemon look at a document now. It waits neither for a retry nor for the next
    resync.
    """
    from reconciler.sources.orders import order_look

    _tell(
        "reconcile",
        (document, target, state_dir, output),
        lambda store, ref: order_look(store, ref, time.time()),
        "the daemon looks at {ref} now; `moorage events --watch` shows what comes of it",
        "No daemon runs now; the next one looks at {ref} when it starts (`moorage up`)",
    )


def pause_note(store: Store, ref: DocumentRef) -> str:
    """What to tell a person who decides something about a paused document; empty for others."""
    from reconciler.sources.pauses import pause_of

    if pause_of(store, ref) is None:
        return ""
    return f"{ref} is paused: nothing is written for it before `moorage resume {ref.name}`."


def _tell(
    order: str,
    given: tuple[str, Target, StateDir, str],
    act: Callable[[Store, DocumentRef], None],
    sentence: str,
    alone: str,
) -> None:
    """Do `act` with the store of the documents, and say it in `sentence`, or in `alone` where no
    daemon runs.
    """
    document, target, state_dir, output = given
    as_json = check_output(output)
    readable, title, folder = open_store(target, state_dir)
    ref = _ref(readable, document, title)
    assert readable is not None
    key, subject = readable.target, subject_in(readable, title)
    readable.close()
    with writable_store(folder, key) as store:
        act(store, ref)
        note = pause_note(store, ref) if order == "reconcile" else ""
    said = (sentence if daemon_facts(folder)["running"] else alone).format(ref=ref)
    details = {"document": str(ref)}
    say_order(order, details, said, subject, folder, as_json=as_json, note=note)


def _ref(store: Store | None, document: str, title: str) -> DocumentRef:
    found = [row.ref for row in store.documents()] if store else []
    matching = [ref for ref in found if document in (str(ref), ref.name)]
    if len(matching) > 1:
        raise CommandError(f"{document} is {' and '.join(map(str, matching))}: say which.")
    if not matching:
        raise unknown("document", document, {ref.name for ref in found}, title)
    return matching[0]
