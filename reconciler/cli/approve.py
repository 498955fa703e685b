"""`moorage approve`: let deletions, replacements and, where syncPolicy.automated is false, changes
go ahead.
"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from reconciler.cli.context import StateDir, Target, Yes, ask, open_store, writable_store
from reconciler.cli.exits import CommandError, Exit


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
    from reconciler.engine.waiting import waiting
    from reconciler.sources.policy import grant

    store, title, folder = open_store(target, state_dir)
    if store is None:
        raise CommandError("Nothing is known to wait for approval.", Exit.FAILED)
    found = waiting(store, document)
    key = store.target
    store.close()
    if not found:
        raise CommandError(
            f"Nothing waits for approval{' of ' + document if document else ''} on the {title}.",
            Exit.FAILED,
        )
    print(f"target: {title}")
    for record in (record for each in found for record in each.ends):
        print(f"- {record.message or record.key}")
    for each in found:
        if each.manual:
            print(f"~ {each.document}: changes of generation {each.generation}")
    if not yes:
        ask("Go ahead?", "This would approve what is listed.")
    with writable_store(folder, key) as writable:
        grant(writable, found, time.time())
    print("approved; a running daemon acts on it at once")
