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
from reconciler.cli.envelope import Output, check_output
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.history import app_of
from reconciler.cli.orders import say_order, when
from reconciler.cli.subject import Subject, set_in

if TYPE_CHECKING:
    from reconciler.api.outputs import AppOutputs
    from reconciler.web.generations import Generation


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
    """Let an earlier generation of a service serve. It is held until the document's spec
    changes.
    """
    from reconciler.sources.orders import order_rollback

    as_json = check_output(output)
    readable, title, folder = open_store(target, state_dir)
    app = app_of(readable, service, title)
    assert readable is not None
    key, subject = readable.target, Subject(title, set_in(readable))
    readable.close()
    if app.asked_revision is None:
        raise CommandError(f"{service} was last seen by an earlier release; start the daemon once.")
    if app.held is not None:
        raise CommandError(
            f"{service} is rolled back already ({app.held}); change its document first."
        )
    chosen = _chosen(app, to)
    with writable_store(folder, key) as store:
        order_rollback(store, service, app.asked_revision, chosen.revision, time.time())
    details = {
        "document": f"InferenceService/{service}",
        "generation": chosen.number,
        "revision": chosen.revision,
    }
    sentence = (
        f"rollback of {service} on the {title} to generation {chosen.number}"
        f" ({chosen.revision}): the daemon acts on it {when(folder)}\n"
        "It holds until the spec of the document changes."
    )
    say_order("rollback", details, sentence, subject, folder, as_json=as_json)


def _chosen(app: AppOutputs, to: str) -> Generation:
    from reconciler.web.generations import generations

    kept = [each for each in generations(app, {}) if each.revision != app.asked_revision]
    if not to:
        if not kept:
            raise CommandError("There is no earlier generation.", Exit.FAILED)
        return next((each for each in kept if each.served), kept[0])
    for each in kept:
        if to in (str(each.number), each.revision, each.revision.rpartition("--")[2]):
            return each
    raise CommandError(
        f"There is no generation {to!r} to go back to; `moorage history` lists them.", Exit.INVALID
    )
