"""`moorage export`: the resources of the documents, in a form that other tools can deploy."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import TYPE_CHECKING

import typer

from reconciler.cli.context import (
    Files,
    StateDir,
    Target,
    documents_of,
    manifest_of,
    settings_of,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import print_bare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.api.resources import ResourceSpec
    from reconciler.composition import Composition
    from reconciler.engine.external import Desired
    from reconciler.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Export the documents for other tools.")


@app.callback()
def export() -> None:
    """Export the documents for other tools."""


@app.command()
def arm(file: Files = None, target: Target = None, state_dir: StateDir = None) -> None:
    """Print an ARM template that creates the documents' resources in their resource group. API keys
    are parameters of the template. The daemon manages the resources afterwards and publishes the
    folders.
    """
    from reconciler.kinds.arm_template import arm_template

    manifest_of(file)
    files = documents_of(file)
    settings = settings_of(target, state_dir, files, start=True)
    composition = asyncio.run(_compose(settings, files))
    if composition.refusals:
        raise CommandError(
            "\n".join(f"{ref}: {each.message}" for ref, each in composition.refusals.items()),
            Exit.INVALID,
        )
    group = _group(composition)
    print_bare(arm_template(composition.desired))
    print(f"# {_creation(group)}\n# {_deployment(group.spec.name)}", file=sys.stderr)


async def _compose(settings: Settings, files: Sequence[Path]) -> Composition:
    """The desired objects, by the daemon's own code, on a copy of the daemon's state."""
    from reconciler import logs
    from reconciler.daemon import Daemon
    from reconciler.engine.store import Store
    from reconciler.single_run import load_all

    logs.configure(level="ERROR", last=False)  # standard output is the command's own
    store = Store.copy(settings.daemon_dir / "state.db", settings.target_key)
    async with Daemon(settings, files, store=store) as daemon:
        return await load_all(daemon)


def _group(composition: Composition) -> Desired[ResourceSpec]:
    """The one resource group of all documents: a template is deployed into one resource group."""
    from reconciler.api.kinds import Kind
    from reconciler.api.resources import ResourceSpec
    from reconciler.engine.external import with_spec

    groups = {
        each.spec.name: each
        for each in with_spec(composition.desired, ResourceSpec)
        if each.key.kind == Kind.RESOURCE_GROUP
    }
    if len(groups) != 1:
        names = ", ".join(sorted(groups)) or "none"
        raise CommandError(
            f"A template is deployed into one resource group, and these documents ask for {names}; "
            "use -f to name the files of one Environment.",
            Exit.INVALID,
        )
    return next(iter(groups.values()))


def _creation(group: Desired[ResourceSpec]) -> str:
    labels = [f"{name}={value}" for name, value in group.spec.body["tags"].items()]
    head = [
        "az",
        "group",
        "create",
        "--name",
        group.spec.name,
        "--location",
        group.spec.body["location"],
    ]
    return shlex.join([*head, "--tags", *labels])


def _deployment(group: str) -> str:
    return shlex.join(
        [
            "az",
            "deployment",
            "group",
            "create",
            "--resource-group",
            group,
            "--template-file",
            "FILE",
        ]
    )
