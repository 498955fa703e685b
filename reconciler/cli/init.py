"""`moorage init`: a first document for what lies in a folder. `starter` looks and writes the text;
here is what a person is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say

if TYPE_CHECKING:
    from reconciler.cli.starter import FoundHere

FORMS = "a folder, share://PATH or hf://ORG/NAME@REVISION"
EXAMPLE = "hf://Qwen/Qwen2.5-0.5B-Instruct@main"


Folder = Annotated[
    Path,
    typer.Argument(
        help="The folder to look at and to write to (default: this one).", metavar="DIR"
    ),
]
Name = Annotated[
    str, typer.Option(help="The service's name (default: the folder's).", metavar="NAME")
]
Model = Annotated[str, typer.Option(help=f"The base model: {FORMS}.", metavar="SOURCE")]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        help="An adapter to serve, instead of all that are found; may be repeated.",
        metavar="[NAME=]SOURCE",
    ),
]
Location = Annotated[
    str, typer.Option(help="The Azure region, such as swedencentral.", metavar="REGION")
]
Group = Annotated[str, typer.Option(help="The resource group on Azure.", metavar="GROUP")]
Force = Annotated[bool, typer.Option("--force", help="Replace moorage.yaml if it exists.")]


def init(
    folder: Folder = Path(),
    name: Name = "",
    model: Model = "",
    adapter: Adapters = None,
    location: Location = "",
    resource_group: Group = "",
    force: Force = False,
    output: Output = "text",
) -> None:
    """Write a commented moorage.yaml for what a folder holds. Looks for models and adapters, asks
    for what it cannot find, and creates nothing else.
    """
    from reconciler.cli import starter
    from reconciler.cli.place import NAMES, expanded

    as_json = check_output(output)
    root = expanded(folder).absolute()
    file = root / NAMES[0]
    if not root.is_dir():
        raise CommandError(f"{folder} is not a folder.", Exit.INVALID)
    if file.exists() and not force:
        raise CommandError(
            f"{file} exists and is kept; use --force to replace it. `moorage validate` checks it.",
            Exit.INVALID,
        )
    found = starter.look(root)
    _refuse_other_folders(found, root, folder)
    adapters = _adapters(adapter or [], found)
    chosen = _model(model, found, root)
    text = starter.document(_name(name, root), chosen, adapters, location, resource_group)
    _check(text, root)
    file.write_text(text, encoding="utf-8")
    if as_json:
        served = [{"name": each, "source": source} for each, source in adapters]
        print_value("Document", {"file": str(file), "model": chosen, "adapters": served})
    else:
        _tell(file, chosen, adapters, found)


def _refuse_other_folders(found: FoundHere, root: Path, given: Path) -> None:
    """Refuse a project of AI Toolkit, and a folder that is a model or an adapter itself."""
    if found.is_toolkit:
        raise CommandError(
            f"{root} is a project of AI Toolkit: `moorage import {given}` writes its documents.",
            Exit.INVALID,
        )
    if "." in found.models or any(each.path == "." for each in found.adapters):
        what = "a model" if "." in found.models else "an adapter"
        raise CommandError(
            f"{root} is {what} itself, and every file in it would be published. Run"
            f" `moorage init {root.parent}`, the folder around it.",
            Exit.INVALID,
        )


def _name(asked: str, root: Path) -> str:
    from reconciler.toolkit.choice import service_name

    wanted = asked or root.name
    name = service_name(wanted)
    if name is None or (asked and name != asked):
        raise CommandError(
            f"{wanted!r} cannot be a service's name; say another with --name, such as"
            f" {name or 'phi'}.",
            Exit.INVALID,
        )
    return name


def _model(asked: str, found: FoundHere, root: Path) -> str:
    from reconciler.cli.starter import model_for

    if asked:
        return _source(asked)
    candidates = model_for(found, root)
    if len(candidates) == 1:
        return candidates[0]
    if not sys.stdin.isatty():
        many = f" Found: {', '.join(candidates)}." if candidates else ""
        trained = ", ".join(sorted({each.base for each in found.adapters if each.base}))
        of = f" The adapters here were trained on {trained}." if trained and not many else ""
        raise CommandError(
            f"The base model is not known.{many}{of} Say --model SOURCE: {FORMS}, such as"
            f" {EXAMPLE}.",
            Exit.INVALID,
        )
    for base in sorted({each.base for each in found.adapters if each.base}):
        say(f"An adapter here was trained on {base}.", aside=True)
    for number, each in enumerate(candidates, 1):
        print(f"  {number}  {each}", file=sys.stderr)
    answer = str(typer.prompt(f"The base model: {FORMS}", err=True)).strip()
    if answer.isdigit() and 1 <= int(answer) <= len(candidates):
        return candidates[int(answer) - 1]
    return _model(answer, found, root)


def _adapters(asked: Sequence[str], found: FoundHere) -> list[tuple[str, str]]:
    """Name and source of each adapter: those of the command line, else all that can be served."""
    from reconciler.cli.starter import adapter_name

    chosen: list[tuple[str, str]] = []
    given = asked or [f"./{each.path}" for each in found.adapters if not each.problem]
    for each in given:
        head, separator, tail = each.partition("=")
        source = tail if separator else head
        name = head if separator else adapter_name(source, [taken for taken, _ in chosen])
        chosen.append((name, _source(source)))
    return chosen


def _source(text: str) -> str:
    """A source as a document has it. What is typed at a question has met no shell, so `~` and
    variables are filled in here.
    """
    from reconciler.cli.place import expanded

    if "://" in text:
        return text
    path = expanded(Path(text))
    near = text.startswith(".") or path.is_absolute()
    return str(path) if text.startswith(("~", "$")) else text if near else f"./{text}"


def _check(text: str, root: Path) -> None:
    """The document is valid where it will lie; what is wrong is told as for any document."""
    import os

    from reconciler.api.manifest import load
    from reconciler.api.problems import ManifestError

    trial = root / f".moorage-init-{os.getpid()}.yaml"
    try:
        trial.write_text(text, encoding="utf-8")
        load([trial]).without_faults()
    except ManifestError as error:
        said = "; ".join(each.message for each in error.problems)
        raise CommandError(f"Nothing is written: {said}.", Exit.INVALID) from None
    except OSError as error:
        raise CommandError(f"{root} cannot be written to ({error.strerror}).") from None
    finally:
        trial.unlink(missing_ok=True)


def _tell(file: Path, model: str, adapters: Sequence[tuple[str, str]], found: FoundHere) -> None:
    served = ", ".join(f"{name} ({source})" for name, source in adapters) or "none"
    print(f"wrote     {file}")
    print(f"model     {model}")
    print(f"adapters  {served}")
    for each in found.adapters:
        if each.problem:
            print(f"left out  {each.path}: {each.problem}")
    if model.startswith("hf://") and model.endswith("@main"):
        print("note      main moves: write a commit in its place, so that what serves is fixed")
    where = "" if file.parent == Path.cwd() else f" -f {file}"
    for number, (command, does) in enumerate(
        (
            (f"moorage plan{where}", "what would be created; it changes nothing"),
            (f"moorage up{where}", "serve it on this machine and apply what you save"),
            (f"moorage up{where} --target azure", "the same on Azure; it asks first"),
        )
    ):
        print(f"{'' if number else 'next':<10}{command:<{27 + len(where)}}{does}")
