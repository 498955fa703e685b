"""`moorage events`: what happened, latest last."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from reconciler.cli.context import Output, StateDir, Target, check_output, open_store, print_json


def events(
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
    limit: Annotated[
        int, typer.Option(help="How many, at most.", min=1, max=1000, metavar="N")
    ] = 50,
) -> None:
    """Show what happened, latest last. Writes, drift put right, errors."""
    as_json = check_output(output)
    store, title, _ = open_store(target, state_dir)
    found = store.events(limit=limit) if store else ()
    if as_json:
        rows = [
            {
                **asdict(e),
                "document": str(e.document),
                "first": _time(e.first),
                "last": _time(e.last),
            }
            for e in found
        ]
        print_json({"target": title, "events": rows})
        return
    print(f"target: {title}")
    for event in found:
        times = f" (x{event.count})" if event.count > 1 else ""
        print(
            f"{_time(event.last)}  {event.type.value:<7}  {event.reason:<18}  {event.object} "
            f" {event.message}{times}"
        )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
