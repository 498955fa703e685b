"""`moorage plan`: the changes that a run would make, found by the same code that makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import plan_file
from reconciler.cli.context import (
    Files,
    StateDir,
    Target,
    documents_of,
    manifest_of,
    settings_of,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.foresight import foresee
from reconciler.cli.git_documents import Branch, Folder, Git, planned_from, valid_commit
from reconciler.cli.output.envelope import Output, check_output, envelope, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.plan_view import show

if TYPE_CHECKING:
    from reconciler.engine.plan import PlanLine
    from reconciler.kinds.prices import Prices


def plan(
    file: Files = None,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 3 if anything would change.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Keep the plan in a file, for approve FILE.", metavar="FILE"),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="A table of prices, as JSON.", envvar="MOORAGE_PRICES", metavar="FILE"),
    ] = None,
    git: Git = "",
    branch: Branch = "",
    path: Folder = ".",
) -> None:
    """Show what would change. It prints each field that differs between documents and Azure, and
    writes nothing.
    """
    as_json = check_output(output)
    checkout = None
    if git:
        settings = settings_of(target, state_dir, start=True)
        checkout = planned_from(settings, file, git, branch, path)
        files = [checkout.documents]
        valid_commit(checkout, once=True)
    else:
        manifest_of(file)
        files = documents_of(file)
        settings = settings_of(target, state_dir, files, start=True)
    keep, table = out is not None, _prices(prices)
    foreseen = asyncio.run(foresee(settings, files, keep=keep, prices=table, checkout=checkout))
    if out is not None:
        plan_file.write(out, {**envelope("Plan", foreseen.subject), **foreseen.as_value()}, files)
    if as_json:
        print_value("Plan", foreseen.as_value(), foreseen.subject)
    else:
        show(foreseen.lines, foreseen.subject, foreseen.loaded, foreseen.times)
        # Where nothing costs anything, only who gives a table wants to know what it lacks.
        unknown = foreseen.unknown_costs if table or not settings.price_note else []
        for cost in (*foreseen.costs, *unknown):
            say(cost)
        if foreseen.costs and settings.price_note:
            say(settings.price_note)
    if any(line.action == "refuse" for line in foreseen.lines):
        raise typer.Exit(Exit.FAILED)
    if detailed_exitcode and pending(foreseen.lines):
        raise typer.Exit(Exit.PENDING)


def _prices(path: Path | None) -> Prices | None:
    from reconciler.kinds.prices import read

    if path is None:
        return None
    try:
        return read(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error}", Exit.INVALID) from None
    except ValueError as error:
        raise CommandError(f"{path}:{error}", Exit.INVALID) from None


def pending(lines: Sequence[PlanLine]) -> bool:
    return any(line.action != "no-op" for line in lines)
