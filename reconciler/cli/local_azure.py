"""`moorage local-azure`: start, stop, status, journal and faults of the local Azure, which is a
separate program.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.context import StateDir
from reconciler.cli.exits import CommandError
from reconciler.cli.local_program import program_line, run
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import subject_near
from reconciler.cli.place import state_of

faults_app = typer.Typer(
    no_args_is_help=True,
    help="Script misbehaviour: errors, resets, failing operations, sick replicas.",
)
app = typer.Typer(
    no_args_is_help=True,
    help="Control the local Azure. It is a separate process with Azure's interfaces.",
)

Faults = Annotated[
    Path | None,
    typer.Option("--faults", help="A file of faults that replaces those in force.", metavar="FILE"),
]
Pace = Annotated[
    str | None,
    typer.Option(
        "--pace",
        help="fast (default), or real: operations take the minutes they take on Azure.",
        metavar="PACE",
    ),
]
ShareView = Annotated[
    str | None,
    typer.Option(
        "--share-view",
        help="How replicas see a share: plain (default), or smb with its caches and refusals.",
        metavar="VIEW",
    ),
]
Quotas = Annotated[
    list[str] | None,
    typer.Option(
        "--quota",
        help="A GPU quota by the name of its usage; docs/local-azure.md. Each is 2 at first.",
        metavar="NAME=GPUS",
    ),
]
Role = Annotated[
    Path | None,
    typer.Option(
        "--role",
        help=(
            "A role definition, as az role definition create takes it: the caller may do what it"
            " grants, and nothing else. none: an owner again."
        ),
        metavar="FILE",
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        help=(
            "The file that maps images to Python environments; docs/local-azure.md. none: the one"
            " that comes with Moorage."
        ),
        metavar="FILE",
    ),
]


def _pass_on(kind: str, command: str, state_dir: Path | None, output: str, *options: str) -> None:
    """Run a command of the local Azure's own program; a program gets its answer in our envelope."""
    place = state_of(state_dir)
    if not check_output(output):
        line = [*program_line(command, place), *options]
        with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as program:
            for told in program.stderr or ():
                say(told.rstrip(), aside=True)
        raise typer.Exit(program.returncode)
    done = run(command, place, "-o", "json", *options)
    if done.returncode:
        raise CommandError(done.stderr.strip() or "the local Azure said nothing", done.returncode)
    sys.stderr.write(done.stderr)
    found = json.loads(done.stdout)
    answer = found if isinstance(found, dict) else {"requests": found}
    print_value(kind, answer, subject_near("local", place))


@app.command()
def start(
    faults: Faults = None,
    pace: Pace = None,
    share_view: ShareView = None,
    quota: Quotas = None,
    role: Role = None,
    images: Images = None,
    output: Output = "text",
    state_dir: StateDir = None,
) -> None:
    """Start the local Azure in the background and print how to reach it. Returns at once if it runs
    already. The options hold for later starts too, until they are given again.
    """
    given = {
        "--faults": faults,
        "--pace": pace,
        "--share-view": share_view,
        "--role": role,
        "--images": images,
    }
    words = [word for name, value in given.items() if value for word in (name, str(value))]
    words += [word for limit in quota or () for word in ("--quota", limit)]
    _pass_on("LocalAzure", "start", state_dir, output, *words)


@app.command()
def stop(output: Output = "text", state_dir: StateDir = None) -> None:
    """Stop the local Azure and everything that runs in it. Its resources are kept for the next
    start.
    """
    _pass_on("LocalAzure", "stop", state_dir, output)


@app.command()
def status(output: Output = "text", state_dir: StateDir = None) -> None:
    """Say whether the local Azure runs, and what runs in it."""
    _pass_on("LocalAzure", "status", state_dir, output)


@app.command()
def journal(output: Output = "text", state_dir: StateDir = None) -> None:
    """Print every request that the local Azure has answered."""
    _pass_on("Journal", "journal", state_dir, output)


@faults_app.command(
    "add",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[--FIELD VALUE]...",
)
def add_fault(
    context: typer.Context,
    fault: Annotated[
        str,
        typer.Argument(help="What happens; docs/local-azure.md has the table.", metavar="FAULT"),
    ],
    output: Output = "text",
    state_dir: StateDir = None,
) -> None:
    """Add one fault. Its fields are options: --operation Microsoft.App/containerApps --name 'web*'
    --times 3.
    """
    _pass_on("FaultList", "faults add", state_dir, output, fault, *context.args)


@faults_app.command("load")
def load_faults(
    file: Annotated[Path, typer.Argument(help="A YAML file of faults.", metavar="FILE")],
    output: Output = "text",
    state_dir: StateDir = None,
) -> None:
    """Replace all faults by those of a file. If the file has an error, exit code 2 with
    file:line:column, and nothing changes.
    """
    _pass_on("FaultList", "faults load", state_dir, output, str(file))


@faults_app.command("list")
def list_faults(output: Output = "text", state_dir: StateDir = None) -> None:
    """Show the faults in force and how many events each has hit."""
    _pass_on("FaultList", "faults list", state_dir, output)


@faults_app.command("clear")
def clear_faults(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Which ones; all, if left out.", metavar="ID")
    ] = None,
    output: Output = "text",
    state_dir: StateDir = None,
) -> None:
    """Remove faults."""
    _pass_on("FaultList", "faults clear", state_dir, output, *(ids or ()))


app.add_typer(faults_app, name="faults")
