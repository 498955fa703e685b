"""`moorage events`: what happened, latest last."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import (
    StateDir,
    Target,
    open_store,
)
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import Subject, subject_in
from reconciler.cli.unknown import unknown

if TYPE_CHECKING:
    from reconciler.cli.output.console import Console
    from reconciler.engine.events import Event

ROOMY = 100  # columns for which events have columns of their own
LOOK = 1.0  # seconds between two looks of --watch


def events(
    document: Annotated[
        str, typer.Argument(help="KIND/NAME or NAME; all, if left out.", metavar="DOCUMENT")
    ] = "",
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
    limit: Annotated[
        int, typer.Option(help="How many, at most.", min=1, max=1000, metavar="N")
    ] = 50,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay and print what happens.")
    ] = False,
) -> None:
    """Show what happened, latest last: writes, corrected drift, errors."""
    from reconciler.cli.output.console import Console

    as_json = check_output(output)
    found, subject = _read(target, state_dir, document, limit)
    console = Console(highlight=False)
    if as_json and not watch:
        rows = [as_value(event) for event in found]
        print_value("EventList", {"events": rows}, subject)
        return
    if not as_json:
        subject.show()
        if not found:
            say("nothing has happened yet")
    seen: dict[str, int] = {}
    while True:
        fresh = [event for event in found if seen.get(_id(event)) != event.count]
        seen |= {_id(event): event.count for event in fresh}
        for event in fresh:
            _print(console, event, as_json=as_json)
        if not watch:
            return
        time.sleep(LOOK)
        found, _ = _read(target, state_dir, document, limit)


def _read(
    target: Target, state_dir: StateDir, document: str, limit: int
) -> tuple[Sequence[Event], Subject]:
    store, title, _ = open_store(target, state_dir)
    if store is None:
        return (), Subject(title, None)
    about = [e for e in store.events() if document in ("", str(e.document), e.document.name)]
    known = {row.ref.name for row in store.documents()}
    if document and not about and document.rpartition("/")[2] not in known:
        raise unknown("document", document, known, title)
    subject = subject_in(store, title)
    store.close()
    return about[-limit:], subject


def as_value(event: Event) -> dict[str, Any]:
    """An event as JSON, see docs/status.md."""
    times = {"first": _time(event.first), "last": _time(event.last)}
    return {**asdict(event), "document": str(event.document), **times}


def _id(event: Event) -> str:
    return f"{event.object} {event.type} {event.reason} {event.message}"


def _print(console: Console, event: Event, *, as_json: bool) -> None:
    from reconciler.cli.output.ages import age
    from reconciler.cli.output.layout import hang, width_of
    from reconciler.web.verdict import shorten_ids

    if as_json:
        print(json.dumps(as_value(event), default=str), flush=True)
        return
    width = width_of(console)
    times = f" (x{event.count})" if event.count > 1 else ""
    at = f"{age(time.time() - event.last):>4}" if width else _time(event.last)
    style = "yellow" if event.type.value == "Warning" else ""
    head = f"{at}  {event.type.value:<7}  "
    reason = f"{event.reason:<18}"
    if width is not None and width < ROOMY:  # what matters least goes first: type and columns
        head, reason = f"{at}  ", event.reason
    said = shorten_ids(event.message.removeprefix(f"{event.object} "))
    text = f"{reason}  {event.object}  {said}{times}"
    for line in hang(head, text, width):
        console.print(line, markup=False, soft_wrap=True, style=style)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
