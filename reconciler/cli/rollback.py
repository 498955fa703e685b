"""`moorage rollback SERVICE`: let an earlier generation serve, against the document."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import (
    Service,
    StateDir,
    Target,
    open_store,
    writable_store,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.history import history_of
from reconciler.cli.orders import say_order, when
from reconciler.cli.output.envelope import Output, check_output
from reconciler.cli.output.subject import subject_in
from reconciler.cli.pause import pause_note

if TYPE_CHECKING:
    from reconciler.engine.waiting import Waiting
    from reconciler.web.generations import Generation, History


def rollback(
    service: Service,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="The generation's number, or its revision; the one before when left out.",
            metavar="N",
        ),
    ] = "",
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Let an earlier generation of a service serve. The rollback holds until the document's spec
    changes.
    """
    from reconciler.engine.external import DocumentRef
    from reconciler.engine.waiting import waiting
    from reconciler.sources.decisions import caller
    from reconciler.sources.orders import order_rollback

    as_json = check_output(output)
    readable, title, folder = open_store(target, state_dir)
    history = history_of(readable, service, title)
    assert readable is not None
    found = waiting(readable, f"InferenceService/{service}")
    key, subject = readable.target, subject_in(readable, title)
    readable.close()
    if history.app.asked_revision is None:
        raise CommandError(f"{service} was last seen by an earlier release; start the daemon once.")
    if history.held:
        raise CommandError(
            f"{service} is rolled back already ({history.held}); change its document first."
        )
    chosen = _chosen(history, to, next(iter(found), None))
    order = history.decision(chosen)
    with writable_store(folder, key) as store:
        order_rollback(store, service, order, time.time(), caller())
        paused = pause_note(store, DocumentRef("InferenceService", service))
    details = {
        "document": f"InferenceService/{service}",
        "generation": chosen.number,
        "revision": chosen.revision,
        "adapters": [each.dump() for each in chosen.adapters.adapters]
        if chosen.adapters and order.adapters
        else None,
    }
    adapters = f"Its adapters serve again: {', '.join(chosen.versions) or 'none'}.\n"
    sentence = (
        f"rollback of {service} on the {title} to generation {chosen.number}"
        f" ({chosen.revision}): the daemon acts on it {when(folder, paused=bool(paused))}\n"
        f"{adapters if order.adapters else ''}It holds until the spec of the document changes."
    )
    say_order("rollback", details, sentence, subject, folder, as_json=as_json, note=paused)


def _chosen(history: History, to: str, waits: Waiting | None = None) -> Generation:
    kept = history.returnable(waits)
    if not to:
        if not kept:
            raise CommandError("There is no earlier generation.", Exit.FAILED)
        return next((each for each in kept if each.served), kept[0])
    for each in kept:
        if to not in (str(each.number), each.revision, each.revision.rpartition("--")[2]):
            continue
        if each.failed:
            raise CommandError(
                f"Generation {each.number} ({each.revision}) failed when it last ran: nobody would"
                " serve; choose another: `moorage history`."
            )
        return each
    raise CommandError(
        f"There is no generation {to!r} to go back to; `moorage history` lists them.", Exit.INVALID
    )
