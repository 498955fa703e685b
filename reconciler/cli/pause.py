"""`moorage pause`, `moorage resume` and `moorage reconcile`: what a person tells the daemon about a
document. `sources.orders` keeps it in the store, where the daemon reads it.
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

LATER = "; no daemon runs now, the next one acts on it"

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
    from reconciler.sources.orders import order_pause

    said = "{ref} is paused: nothing is written for it until `moorage resume {ref.name}`{later}"
    _tell(
        "pause",
        (document, target, state_dir, output),
        lambda store, ref: order_pause(store, ref, time.time()),
        said,
    )


def resume(
    document: Document,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Let the daemon write for a document again after moorage pause."""
    from reconciler.sources.orders import end_pause, paused_since

    def act(store: Store, ref: DocumentRef) -> None:
        if paused_since(store, ref) is None:
            raise CommandError(f"{ref} is not paused.")
        end_pause(store, ref, time.time())

    said = "{ref} is resumed: the daemon makes it as its document says{later}"
    _tell("resume", (document, target, state_dir, output), act, said)


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
        "{ref} is looked at{later}",
        " now; `moorage events --watch` shows what comes of it",
    )


def pause_note(store: Store, ref: DocumentRef) -> str:
    """What to tell a person who decides something about a paused document; empty for others."""
    from reconciler.sources.orders import paused_since

    if paused_since(store, ref) is None:
        return ""
    return f"{ref} is paused: nothing is written for it before `moorage resume {ref.name}`."


def _tell(
    order: str,
    given: tuple[str, Target, StateDir, str],
    act: Callable[[Store, DocumentRef], None],
    sentence: str,
    now: str = "",
) -> None:
    """Do `act` with the store of the documents, and say it in `sentence`, which ends in `now` or,
    where no daemon runs, in who acts later.
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
    later = now if daemon_facts(folder)["running"] else LATER
    said = sentence.format(ref=ref, later=later)
    say_order(order, {"document": str(ref)}, said, subject, folder, as_json=as_json)


def _ref(store: Store | None, document: str, title: str) -> DocumentRef:
    found = [row.ref for row in store.documents()] if store else []
    matching = [ref for ref in found if document in (str(ref), ref.name)]
    if len(matching) > 1:
        raise CommandError(f"{document} is {' and '.join(map(str, matching))}: say which.")
    if not matching:
        raise unknown("document", document, {ref.name for ref in found}, title)
    return matching[0]
