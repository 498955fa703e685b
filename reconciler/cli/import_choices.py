"""The choices of `moorage import`: the name, the base model, the adapters. Without a clear answer
it asks a person, or names the option.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from reconciler.toolkit.choice import Choice, ChosenAdapter
    from reconciler.toolkit.existing import Existing
    from reconciler.toolkit.project import Project

Options = dict[str, Any]


def choose(read: Project, existing: Existing, options: Options) -> Choice:
    """`options` are engine, adapter, base_only and model as the command line gave them, and the
    service's name.

    Raises:
        CommandError: something cannot be decided.
        ManifestError: an adapter is broken.
    """
    from reconciler.toolkit.choice import Choice

    engine, location = options["engine"], read.settings.parameters.get("location")
    if engine == "code" and not (read.has_code and "defaultCommands" in read.settings.parameters):
        missing = (
            "its inference/ holds no Python"
            if not read.has_code
            else "its parameters name no defaultCommands"
        )
        raise CommandError(
            f"{read.root} has no web API of its own ({missing}); serve its model with --engine"
            " vllm.",
            Exit.INVALID,
        )
    name = options["name"]
    source, here = _model(read, options)
    where = str(location.value).replace(" ", "").lower() if location else existing.location
    choice = Choice(read, existing, engine, name, (), source, here, where)
    return replace(choice, adapters=_adapters(choice, options))


def name_of(read: Project, asked: str) -> str:
    """The service's name: the option, acaAppName, or the name of the folder."""
    from reconciler.toolkit.choice import service_name

    given = read.settings.name("acaAppName")
    wanted = asked or (str(given.value) if given else read.root.resolve().name)
    name = service_name(wanted)
    if name is None or (asked and name != asked):
        raise CommandError(
            f"{wanted!r} cannot be a service's name; give it one with --name, such as"
            f" {name or 'phi'}",
            Exit.INVALID,
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
            f"{asked} is not a folder with a model; write one, share://path or"
            " hf://org/name@revision",
            Exit.INVALID,
        )
    if path:
        return (
            f"share://{path}",
            False,
        )  # Fine-tuning puts the model there. Nothing is created before the model exists.
    if options["engine"] == "vllm":
        raise CommandError(
            "The project does not say which base model it has; name it with --model SOURCE.",
            Exit.INVALID,
        )
    return None, False


def _adapters(choice: Choice, options: Options) -> tuple[ChosenAdapter, ...]:
    from reconciler.toolkit.choice import NEWEST, ChosenAdapter, adapter_names

    read, asked = choice.project, options["adapter"]
    if options["base_only"]:
        if asked:
            raise CommandError("--base-only and --adapter contradict each other.", Exit.INVALID)
        return ()
    sources = [_asked(read, each) for each in asked] or _only_one(choice)
    if choice.engine == "code" and len(sources) > 1:
        raise CommandError(
            "The web API loads one adapter; name one, or use --engine vllm, which serves many.",
            Exit.INVALID,
        )
    if choice.engine == "code" and NEWEST in sources:
        raise CommandError(
            "The web API reads a fixed folder; name one, or use --engine vllm, which takes each"
            " new result.",
            Exit.INVALID,
        )
    names = adapter_names(sources, (choice.name,))
    return tuple(
        _checked(choice, ChosenAdapter(name, source, "://" not in source))
        for name, source in zip(names, sources, strict=True)
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
        f"{adapter} holds no adapter_config.json; adapters here:"
        f" {', '.join(read.adapters) or 'none'}",
        Exit.INVALID,
    )


def _only_one(choice: Choice) -> list[str]:
    """The only adapter; with none or several, a person decides."""
    from reconciler.toolkit.choice import NEWEST

    read, shared = choice.project, [f"share://{path}" for path in choice.existing.adapters]
    found = [*read.adapters] or shared
    if len(found) == 1:
        return found
    if not found:
        answer = _ask(
            f"{read.root}/models holds no adapter, nor does the share: the base model alone would"
            " be served.",
            ["--base-only", *(["--adapter newest"] if choice.engine == "vllm" else [])],
        )
        return [NEWEST] if answer == "--adapter newest" else []
    newest = [NEWEST] if choice.engine == "vllm" and found == shared else []
    return [_ask("The project has several adapters.", [*found, *newest], option="--adapter ")]


def _ask(situation: str, answers: Sequence[str], option: str = "") -> str:
    """Ask a person to choose; without a terminal, name the option."""
    if not sys.stdin.isatty():
        raise CommandError(
            f"{situation} Use {', or '.join(option + each for each in answers)}.",
            Exit.INVALID,
        )
    print(situation, file=sys.stderr)
    for number, answer in enumerate(answers, 1):
        print(f"  {number}  {answer}", file=sys.stderr)
    while not 1 <= (chosen := int(typer.prompt("Which", type=int, err=True))) <= len(answers):
        print(f"a number from 1 to {len(answers)}", file=sys.stderr)
    return answers[chosen - 1]


def _checked(choice: Choice, adapter: ChosenAdapter) -> ChosenAdapter:
    """Check a local adapter. An adapter on the share is checked when it is fetched."""
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
        raise ManifestError(
            [Problem(file, error.lineno, error.colno, f"this is not JSON ({error.msg})", hint)]
        ) from None
    base = root / choice.model if choice.model and choice.model_here else None
    faults, _, rank = adapter_faults(file.parent, base, engine=choice.engine)
    if faults:
        hint = "choose another with --adapter, or --base-only"
        raise ManifestError(
            [
                Problem(file, 1, 1, f"the adapter cannot be served: {fault}", hint)
                for fault in faults
            ]
        )
    return replace(adapter, rank=rank)
