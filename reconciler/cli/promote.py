"""`moorage promote SERVICE`: let a rollout that pauses go on."""

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
from reconciler.cli.exits import CommandError
from reconciler.cli.history import app_of
from reconciler.cli.orders import say_order, when
from reconciler.cli.output.envelope import Output, check_output
from reconciler.cli.output.subject import subject_in
from reconciler.cli.pause import pause_note

if TYPE_CHECKING:
    from reconciler.api.outputs import AppOutputs

ALL = 100


def promote(
    service: Service,
    full: Annotated[
        bool, typer.Option("--full", help="Skip all steps that are left, with their evaluations.")
    ] = False,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Continue a rollout that pauses at a step."""
    from reconciler.engine.external import DocumentRef
    from reconciler.sources.decisions import caller
    from reconciler.sources.orders import order_promotion

    as_json = check_output(output)
    readable, title, folder = open_store(target, state_dir)
    app = app_of(readable, service, title)
    assert readable is not None
    key, subject = readable.target, subject_in(readable, title)
    readable.close()
    weight = _weight(app, service)
    with writable_store(folder, key) as store:
        revision = str(app.asked_revision)
        upto = ALL if full else weight
        order_promotion(store, service, revision, upto, time.time(), caller())
        paused = pause_note(store, DocumentRef("InferenceService", service))
    whither = "all of it" if full else "its next step"
    details = {
        "document": f"InferenceService/{service}",
        "revision": revision,
        "trafficWeight": weight,
        "full": full,
    }
    sentence = (
        f"promote {service} on the {title}: {revision} has {weight} % of the traffic and goes on to"
        f" {whither}; the daemon acts on it {when(folder, paused=bool(paused))}"
    )
    say_order("promote", details, sentence, subject, folder, as_json=as_json, note=paused)


def _weight(app: AppOutputs, service: str) -> int:
    """The traffic of the revision that the document asks for, in percent."""
    if app.held is not None:
        raise CommandError(f"{service} is rolled back ({app.held}); change its document first.")
    wanted = (each for each in app.arm.revisions if each.name == app.asked_revision)
    weight = next((each.weight for each in wanted), 0)
    if not 0 < weight < ALL:
        raise CommandError(f"No rollout of {service} is between two steps.")
    return weight
