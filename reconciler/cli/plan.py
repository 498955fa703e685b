"""`moorage plan`: the changes that a run would make, found by the same code that makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import (
    Files,
    Output,
    StateDir,
    Target,
    check_output,
    documents_of,
    manifest_of,
    print_json,
    settings_of,
)
from reconciler.cli.exits import Exit
from reconciler.cli.plan_view import as_value, show

if TYPE_CHECKING:
    from reconciler.engine.plan import PlanLine


def plan(
    file: Files = None,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 3 if anything would change.")
    ] = False,
) -> None:
    """Show what would change. It prints each field that differs between documents and Azure, and
    writes nothing.
    """
    as_json = check_output(output)
    manifest_of(file)
    files = documents_of(file)
    settings = settings_of(target, state_dir, files, start=True)
    lines = asyncio.run(make_plan(settings, files))
    if as_json:
        print_json(
            {"target": settings.target_title, "changes": [as_value(line) for line in lines]}, "Plan"
        )
    else:
        show(lines, settings.target_title)
    if any(line.action == "refuse" for line in lines):
        raise typer.Exit(Exit.FAILED)
    if detailed_exitcode and pending(lines):
        raise typer.Exit(Exit.PENDING)


async def make_plan(settings: Any, files: Sequence[Any]) -> tuple[PlanLine, ...]:
    """The plan, on a copy of the daemon's state, so that planning changes nothing."""
    from reconciler.daemon import Daemon
    from reconciler.engine.store import Store
    from reconciler.sources import sets
    from reconciler.sources.identity import set_of

    store = Store.copy(settings.daemon_dir / "state.db", settings.target_key)
    documents = set_of(files, settings.owner, sets.last(store), keep=False)
    async with Daemon(settings, files, store=store, documents=documents) as daemon:
        return await daemon.plan()


def pending(lines: Sequence[PlanLine]) -> bool:
    return any(line.action != "no-op" for line in lines)
