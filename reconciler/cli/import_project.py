"""`moorage import`: write documents for an AI Toolkit project. It creates nothing, and asks rather
than guesses.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import StateDir, Target, settings_of
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import hang, terminal_width

if TYPE_CHECKING:
    from reconciler.toolkit.choice import Choice
    from reconciler.toolkit.existing import Existing
    from reconciler.toolkit.project import Project


Folder = Annotated[
    Path, typer.Argument(help="The folder of an AI Toolkit project.", metavar="DIR|azure")
]
Written = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help=(
            "The file to write (default DIR/moorage.yaml); - prints it. After `azure`: the folder"
            " to write to, here if left out."
        ),
        metavar="PATH",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="code keeps the project's own web API, vllm serves its model and adapter.",
        metavar="ENGINE",
    ),
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        help="Which adapter: a folder below DIR, share://models/..., or newest; may be repeated.",
        metavar="PATH",
    ),
]
BaseOnly = Annotated[
    bool, typer.Option("--base-only", help="Serve the base model without an adapter.")
]
Model = Annotated[
    str, typer.Option(help="The base model, if the project does not say.", metavar="SOURCE")
]
Name = Annotated[
    str,
    typer.Option(help="The service's name (default acaAppName, or the folder's).", metavar="NAME"),
]
Group = Annotated[
    str,
    typer.Option(help="Where fine-tuning has put its resources, if no file says.", metavar="GROUP"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]
LIVE = Path("azure")  # in the place of a project's folder: what is in a resource group


@dataclass(frozen=True)
class ProjectOptions:
    """What a command line says of a project."""

    engine: str
    adapter: list[str]
    base_only: bool
    model: str
    name: str
    resource_group: str
    force: bool


NOTHING_ASKED = ProjectOptions("code", [], False, "", "", "", False)


def import_project(
    project: Folder,
    group: Annotated[
        str,
        typer.Argument(help="After `azure`: the resource group.", metavar="RESOURCE-GROUP"),
    ] = "",
    out: Written = None,
    engine: Engine = "code",
    adapter: Adapters = None,
    base_only: BaseOnly = False,
    model: Model = "",
    name: Name = "",
    resource_group: Group = "",
    force: Force = False,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Write documents for an AI Toolkit project or resource group. `moorage import azure
    RESOURCE-GROUP` writes those of what Moorage made there. Creates nothing in Azure.
    """
    as_json = check_output(output, "; --out says where to write")
    if as_json and str(out) == "-":
        raise CommandError("-o json and --out - would both print; use one of them.", Exit.INVALID)
    asked = ProjectOptions(engine, adapter or [], base_only, model, name, resource_group, force)
    if group:
        _import_live(project, group, out, asked, target, state_dir, as_json=as_json)
    else:
        _import_folder(project, out, asked, target, state_dir, as_json=as_json)


def _import_live(
    project: Path,
    group: str,
    out: Path | None,
    asked: ProjectOptions,
    target: Target,
    state_dir: StateDir,
    *,
    as_json: bool,
) -> None:
    from reconciler.cli.import_azure import import_group

    if project != LIVE:
        raise CommandError(f"{group} is one word too many after {project}.", Exit.INVALID)
    if asked != NOTHING_ASKED:
        raise CommandError(
            "moorage import azure takes --out, -o, --target and --state-dir; the other options are"
            " for a project.",
            Exit.INVALID,
        )
    if str(out) == "-":
        raise CommandError("--out names a folder after moorage import azure.", Exit.INVALID)
    import_group(group, out or Path(), target, state_dir, as_json=as_json)


def _import_folder(
    project: Path,
    out: Path | None,
    asked: ProjectOptions,
    target: Target,
    state_dir: StateDir,
    *,
    as_json: bool,
) -> None:
    from reconciler.cli.import_choices import choose, name_of
    from reconciler.toolkit.document import render
    from reconciler.toolkit.project import read_project

    if asked.engine not in ("code", "vllm"):
        raise CommandError(f"--engine must be code or vllm, not {asked.engine!r}", Exit.INVALID)
    read = read_project(project)
    file = None if str(out) == "-" else out or project / "moorage.yaml"
    if file is not None and file.exists() and not asked.force:
        raise CommandError(
            f"{file} exists; use --force to replace it, or --out FILE to write another.",
            Exit.INVALID,
        )
    service = name_of(read, asked.name)
    existing, notes = _look(read, service, asked.resource_group, target, state_dir)
    options = {
        "engine": asked.engine,
        "adapter": asked.adapter,
        "base_only": asked.base_only,
        "model": asked.model,
        "name": service,
    }
    choice = choose(read, existing, options)
    folder = file.absolute().parent if file else Path.cwd()
    text = render(choice, folder)
    _check(text, folder)
    if file is None:
        print(text, end="")
    else:
        file.write_text(text, encoding="utf-8")
    _report(choice, notes, file, as_json=as_json)


def _look(
    read: Project, service: str, resource_group: str, target: Target, state_dir: StateDir
) -> tuple[Existing, list[str]]:
    """The resources in the resource group, if one is known; and what could not be read."""
    from reconciler.toolkit.existing import AmbiguousError, Existing, look

    given = read.settings.place("RESOURCE_GROUP_NAME")
    if given is not None and resource_group and resource_group != given.value:
        raise CommandError(
            f"{given.place} says RESOURCE_GROUP_NAME is {given.value!r}, not {resource_group!r}",
            Exit.INVALID,
        )
    group = resource_group or (str(given.value) if given else "")
    if not group:
        return Existing(), [
            "no resource group is named, so none was searched: --resource-group GROUP"
        ]
    try:
        settings = settings_of(target, state_dir)
    except CommandError as error:  # import creates nothing, so it starts no local Azure either
        return Existing(group), [f"{group} was not searched: {error}"]
    subscription = read.settings.place("SUBSCRIPTION_ID")
    if (
        subscription is not None
        and str(subscription.value).lower() != settings.subscription_id.lower()
    ):
        where = f"{group} is in subscription {subscription.value}"
        return Existing(group), [
            f"{where}, and the {settings.target_title} is another: nothing was searched (--target"
            " azure)"
        ]

    async def looked() -> Existing:
        from reconciler.arm.clients import Arm
        from reconciler.toolkit.existing import SEARCHED

        wanted = (*SEARCHED, "acaAppName")
        names = {
            parameter: str(value.value)
            for parameter in wanted
            if (value := read.settings.name(parameter))
        }
        async with Arm(settings) as arm:
            return await look(arm, group, names, service, read.model)

    try:
        found = asyncio.run(looked())
    except AmbiguousError as error:
        raise CommandError(str(error), Exit.INVALID) from None
    return found, (
        []
        if found.location
        else [f"there is no resource group {group} on the {settings.target_title} yet"]
    )


def _check(text: str, folder: Path) -> None:
    """Check that the written document is valid in its place."""
    from reconciler.api.manifest import load

    trial = folder / f".moorage-import-{os.getpid()}.yaml"
    try:
        trial.write_text(text, encoding="utf-8")
        load([trial]).without_faults()
    finally:
        trial.unlink(missing_ok=True)


def _report(choice: Choice, notes: list[str], file: Path | None, *, as_json: bool) -> None:
    from reconciler.toolkit.report import lines

    told = list(lines(choice, notes))
    if as_json:
        rows = [{"label": label or None, "text": text} for label, text in told]
        print_value("Import", {"files": [str(file)], "notes": rows})
        return
    if file is not None:
        told.append(("wrote", f"{file}; next: moorage plan -f {file}"))
    width = terminal_width(sys.stderr)
    for label, text in told:
        print("\n".join(hang(f"{label:<10} ", text, width)), file=sys.stderr)
