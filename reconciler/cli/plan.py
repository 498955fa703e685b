"""`moorage plan`: the changes that a run would make, found by the same code that makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import plan_file
from reconciler.cli.context import (
    Files,
    Output,
    StateDir,
    Target,
    check_output,
    documents_of,
    envelope,
    manifest_of,
    print_json,
    settings_of,
)
from reconciler.cli.exits import Exit
from reconciler.cli.plan_view import as_value, show

if TYPE_CHECKING:
    from reconciler.engine.external import DocumentRef
    from reconciler.engine.plan import PlanLine
    from reconciler.settings import Settings


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
) -> None:
    """Show what would change. It prints each field that differs between documents and Azure, and
    writes nothing.
    """
    as_json = check_output(output)
    manifest_of(file)
    files = documents_of(file)
    settings = settings_of(target, state_dir, files, start=True)
    foreseen = asyncio.run(foresee(settings, files, keep=out is not None))
    value = foreseen.as_value(settings.target_title)
    if out is not None:
        plan_file.write(out, {**envelope("Plan"), **value}, files)
    if as_json:
        print_json(value, "Plan")
    else:
        show(foreseen.lines, settings.target_title)
    if any(line.action == "refuse" for line in foreseen.lines):
        raise typer.Exit(Exit.FAILED)
    if detailed_exitcode and pending(foreseen.lines):
        raise typer.Exit(Exit.PENDING)


@dataclass(frozen=True)
class Foreseen:
    """A plan, what each document that must be approved comes to, and the key of the set's state."""

    lines: tuple[PlanLine, ...]
    versions: Mapping[DocumentRef, str]
    key: str

    @property
    def waiting(self) -> list[PlanLine]:
        """What a person must approve."""
        return [line for line in self.lines if line.waits]

    def as_value(self, target: str) -> dict[str, Any]:
        """The plan as JSON, see docs/status.md."""
        changes = [
            {**as_value(line), "version": self.versions.get(line.document)} for line in self.lines
        ]
        return {"target": target, "changes": changes}


async def make_plan(settings: Settings, files: Sequence[Path]) -> tuple[PlanLine, ...]:
    """The lines of the plan."""
    return (await foresee(settings, files)).lines


async def foresee(settings: Settings, files: Sequence[Path], *, keep: bool = False) -> Foreseen:
    """The plan, on a copy of the daemon's state, so that planning changes nothing. With `keep`
    documents without an identity are given one, because the next plan is to be the same.
    """
    from reconciler.daemon import Daemon
    from reconciler.engine.store import Store
    from reconciler.sources import sets
    from reconciler.sources.identity import set_of
    from reconciler.sources.policy import version_of

    store = Store.copy(settings.daemon_dir / "state.db", settings.target_key)
    documents = set_of(files, settings.owner, sets.last(store), keep=keep)
    async with Daemon(settings, files, store=store, documents=documents) as daemon:
        lines = await daemon.plan()
        found = {line.document: version_of(daemon.store, line.document) for line in lines}
        versions = {ref: version for ref, version in found.items() if version}
        return Foreseen(lines, versions, daemon.store.target)


def pending(lines: Sequence[PlanLine]) -> bool:
    return any(line.action != "no-op" for line in lines)
