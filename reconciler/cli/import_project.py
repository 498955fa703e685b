"""`moorage import`: an AI Toolkit project becomes documents. Nothing is created; what is doubtful is asked, never guessed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import StateDir, Target, settings_of
from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from reconciler.toolkit.choice import Adapter, Choice
    from reconciler.toolkit.existing import Existing
    from reconciler.toolkit.project import Project

Options = dict[str, Any]


def import_project(
    project: Annotated[Path, typer.Argument(help="The folder of an AI Toolkit project.", metavar="DIR")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write (default DIR/moorage.yaml); - prints.", metavar="FILE")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="code keeps the project's own web API, vllm serves its model and adapter.", metavar="ENGINE")
    ] = "code",
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="Which adapter: a folder below DIR, share://models/..., or newest; may be repeated.", metavar="PATH"),
    ] = None,
    base_only: Annotated[bool, typer.Option("--base-only", help="Serve the base model without an adapter.")] = False,
    model: Annotated[str, typer.Option(help="The base model, if the project does not say.", metavar="SOURCE")] = "",
    name: Annotated[str, typer.Option(help="The service's name (default acaAppName, or the folder's).", metavar="NAME")] = "",
    resource_group: Annotated[
        str, typer.Option(help="Where fine-tuning has put its resources, if no file says.", metavar="GROUP")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Make documents of an AI Toolkit project. Looks at what its fine-tuning has created; creates nothing."""
    from reconciler.toolkit.document import render
    from reconciler.toolkit.project import read_project

    if engine not in ("code", "vllm"):
        raise CommandError(f"--engine must be code or vllm, not {engine!r}", Exit.INVALID)
    read = read_project(project)
    file = None if str(output) == "-" else output or project / "moorage.yaml"
    if file is not None and file.exists() and not force:
        raise CommandError(f"{file} exists; say --force to replace it, or -o FILE to write another.", Exit.INVALID)
    existing, notes = _look(read, resource_group, target, state_dir)
    choice = _choose(
        read, existing, {"engine": engine, "adapter": adapter or [], "base_only": base_only, "model": model, "name": name}
    )
    folder = file.absolute().parent if file else Path.cwd()
    text = render(choice, folder)
    _check(text, folder)
    if file is None:
        print(text, end="")
    else:
        file.write_text(text, encoding="utf-8")
    _report(choice, notes, file)


def _look(read: Project, resource_group: str, target: Target, state_dir: StateDir) -> tuple[Existing, list[str]]:
    """What is in the resource group, if one is known; and what could not be seen."""
    from reconciler.toolkit.existing import AmbiguousError, Existing, look

    given = read.settings.place("RESOURCE_GROUP_NAME")
    if given is not None and resource_group and resource_group != given.value:
        raise CommandError(f"{given.place} says RESOURCE_GROUP_NAME is {given.value!r}, not {resource_group!r}", Exit.INVALID)
    group = resource_group or (str(given.value) if given else "")
    if not group:
        return Existing(), ["no resource group is named, so none was searched: --resource-group GROUP"]
    settings = settings_of(target, state_dir)
    subscription = read.settings.place("SUBSCRIPTION_ID")
    if subscription is not None and str(subscription.value).lower() != settings.subscription_id.lower():
        where = f"{group} is in subscription {subscription.value}"
        return Existing(group), [f"{where}, and the {settings.target_title} is another: nothing was searched (--target azure)"]

    async def looked() -> Existing:
        from reconciler.arm.clients import Arm
        from reconciler.toolkit.settings_files import SAME

        parameters = ("acaEnvironmentName", "acaEnvironmentStorageName", "acaLogAnalyticsName", *SAME.values())
        names = {p: str(value.value) for p in parameters if (value := read.settings.name(p))}
        async with Arm(settings) as arm:
            return await look(arm, group, names, read.model)

    try:
        found = asyncio.run(looked())
    except AmbiguousError as error:
        raise CommandError(str(error), Exit.INVALID) from None
    return found, [] if found.location else [f"there is no resource group {group} on the {settings.target_title} yet"]


def _choose(read: Project, existing: Existing, options: Options) -> Choice:
    from reconciler.toolkit.choice import Choice

    engine, location = options["engine"], read.settings.parameters.get("location")
    if engine == "code" and not (read.has_code and "defaultCommands" in read.settings.parameters):
        missing = "its inference/ holds no Python" if not read.has_code else "its parameters name no defaultCommands"
        raise CommandError(
            f"{read.root} has no web API of its own ({missing}); serve its model with --engine vllm.", Exit.INVALID
        )
    name = _name(read, options["name"])
    source, here = _model(read, options)
    where = str(location.value).replace(" ", "").lower() if location else existing.location
    choice = Choice(read, existing, engine, name, (), source, here, where)
    return replace(choice, adapters=_adapters(choice, options))


def _name(read: Project, asked: str) -> str:
    from reconciler.toolkit.choice import service_name

    given = read.settings.name("acaAppName")
    wanted = asked or (str(given.value) if given else read.root.resolve().name)
    name = service_name(wanted)
    if name is None or (asked and name != asked):
        raise CommandError(
            f"{wanted!r} cannot be a service's name; give it one with --name, such as {name or 'phi'}", Exit.INVALID
        )
    return name


def _model(read: Project, options: Options) -> tuple[str | None, bool]:
    """The base model's source and whether it is below the project's root."""
    asked = options["model"]
    if "://" in asked:
        return asked, False
    path = Path(os.path.relpath(asked, read.root)).as_posix() if asked else read.model
    if path and read.here(path):
        return path, True
    if asked:
        raise CommandError(
            f"{asked} is not a folder with a model; write one, share://path or hf://org/name@revision", Exit.INVALID
        )
    if path:
        return f"share://{path}", False  # where fine-tuning puts it; nothing is created before it is there
    if options["engine"] == "vllm":
        raise CommandError("The project does not say which base model it has; name it with --model SOURCE.", Exit.INVALID)
    return None, False


def _adapters(choice: Choice, options: Options) -> tuple[Adapter, ...]:
    from reconciler.toolkit.choice import NEWEST, Adapter, adapter_names

    read, asked = choice.project, options["adapter"]
    if options["base_only"]:
        if asked:
            raise CommandError("--base-only and --adapter contradict each other.", Exit.INVALID)
        return ()
    sources = [_asked(read, each) for each in asked] or _only_one(choice)
    if choice.engine == "code" and len(sources) > 1:
        raise CommandError("The web API loads one adapter; name one, or take --engine vllm, which serves many.", Exit.INVALID)
    if choice.engine == "code" and NEWEST in sources:
        raise CommandError("The web API reads a fixed folder; name one, or take --engine vllm, which follows.", Exit.INVALID)
    names = adapter_names(sources, (choice.name,))
    return tuple(
        _checked(choice, Adapter(name, source, "://" not in source)) for name, source in zip(names, sources, strict=True)
    )


def _asked(read: Project, adapter: str) -> str:
    from reconciler.toolkit.choice import NEWEST

    if adapter == "newest":
        return NEWEST
    if "://" in adapter:
        return adapter
    for base in (read.root, Path()):
        if (base / adapter / "adapter_config.json").is_file():
            return Path(os.path.relpath(base / adapter, read.root)).as_posix()
    raise CommandError(
        f"{adapter} holds no adapter_config.json; adapters here: {', '.join(read.adapters) or 'none'}", Exit.INVALID
    )


def _only_one(choice: Choice) -> list[str]:
    """The one adapter there is; where there are none or several, a person decides."""
    from reconciler.toolkit.choice import NEWEST

    read, shared = choice.project, [f"share://{path}" for path in choice.existing.adapters]
    found = [*read.adapters] or shared
    if len(found) == 1:
        return found
    if not found:
        answer = _ask(
            f"{read.root}/models holds no adapter, nor does the share: the base model alone would be served.",
            ["--base-only", *(["--adapter newest"] if choice.engine == "vllm" else [])],
        )
        return [NEWEST] if answer == "--adapter newest" else []
    newest = [NEWEST] if choice.engine == "vllm" and found == shared else []
    return [_ask("The project has several adapters.", [*found, *newest], option="--adapter ")]


def _ask(situation: str, answers: Sequence[str], option: str = "") -> str:
    """Let a person choose; where none can be asked, say which option does."""
    if not sys.stdin.isatty():
        raise CommandError(f"{situation} Say which: {', or '.join(option + each for each in answers)}.", Exit.INVALID)
    print(situation, file=sys.stderr)
    for number, answer in enumerate(answers, 1):
        print(f"  {number}  {answer}", file=sys.stderr)
    while not 1 <= (chosen := int(typer.prompt("Which", type=int, err=True))) <= len(answers):
        print(f"a number from 1 to {len(answers)}", file=sys.stderr)
    return answers[chosen - 1]


def _checked(choice: Choice, adapter: Adapter) -> Adapter:
    """A local adapter that has been looked into; one on the share is looked into when it is fetched."""
    import json

    from reconciler.api.problems import ManifestError, Problem
    from reconciler.toolkit.choice import adapter_faults

    if not adapter.here:
        return adapter
    root = choice.project.root
    file = root / adapter.source / "adapter_config.json"
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        hint = "download it again, or choose another with --adapter"
        raise ManifestError([Problem(file, error.lineno, error.colno, f"this is not JSON ({error.msg})", hint)]) from None
    base = root / choice.model if choice.model and choice.model_here else None
    faults, _, rank = adapter_faults(file.parent, base, engine=choice.engine)
    if faults:
        hint = "choose another with --adapter, or --base-only"
        raise ManifestError([Problem(file, 1, 1, f"the adapter cannot be served: {fault}", hint) for fault in faults])
    return replace(adapter, rank=rank)


def _check(text: str, folder: Path) -> None:
    """What is written must be valid where it will lie."""
    from reconciler.api.manifest import load

    trial = folder / f".moorage-import-{os.getpid()}.yaml"
    try:
        trial.write_text(text, encoding="utf-8")
        load([trial])
    finally:
        trial.unlink(missing_ok=True)


def _report(choice: Choice, notes: list[str], file: Path | None) -> None:
    from reconciler.toolkit.report import lines

    for label, text in lines(choice, notes):
        print(f"{label:<10} {text}", file=sys.stderr)
    if file is not None:
        print(f"{'wrote':<10} {file}; next: moorage plan -f {file}", file=sys.stderr)
