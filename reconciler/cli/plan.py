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
from reconciler.cli.exits import Exit
from reconciler.cli.foresight import foresee, prices_in, print_plan
from reconciler.cli.git_documents import Branch, Folder, Git, planned_from, valid_commit
from reconciler.cli.output.envelope import Output, check_output, envelope, print_value

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
    keep, table = out is not None, prices_in(prices)
    foreseen = asyncio.run(foresee(settings, files, keep=keep, prices=table, checkout=checkout))
    if out is not None:
        plan_file.write(out, {**envelope("Plan", foreseen.subject), **foreseen.as_value()}, files)
    if as_json:
        print_value("Plan", foreseen.as_value(), foreseen.subject)
    else:
        print_plan(foreseen, settings)
    if any(line.action == "refuse" for line in foreseen.lines):
        raise typer.Exit(Exit.FAILED)
    if detailed_exitcode and pending(foreseen.lines):
        raise typer.Exit(Exit.PENDING)


def pending(lines: Sequence[PlanLine]) -> bool:
    return any(line.action != "no-op" for line in lines)
