"""`moorage train`: make the LoRA adapters that a recipe names. serving.training does the work in a
separate process; at the end the command prints the lines that serve the adapters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="A YAML recipe, for example manifests/demo/train.yaml.", metavar="RECIPE"
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Make everything again, even what is up to date.")
    ] = False,
) -> None:
    """Train LoRA adapters from a recipe. It ends with the lines that serve them. An adapter is not
    trained again while recipe, dataset and base model are unchanged.
    """
    import subprocess
    import sys

    # A separate process, because the reconciler never imports torch. Ctrl-C reaches the training,
    # which keeps its checkpoint.
    command = [
        sys.executable,
        "-m",
        "serving.training",
        str(recipe),
        *(["--force"] if force else []),
    ]
    child = subprocess.Popen(command)
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            # the terminal sent the signal to the child too; the child's output and exit code count
            continue
        if code == 0:
            say_what_to_paste(recipe)
        raise typer.Exit(code if code >= 0 else 128 - code)


def say_what_to_paste(recipe: Path) -> None:
    """The lines of a document for the adapters that no document here names yet."""
    from reconciler.cli.place import documents_near

    near = [file for file in documents_near() if file.is_file()]
    base = near[0].absolute().parent if near else Path.cwd()
    served = _served(near)
    lines = [
        f"    - {{name: {name}, source: {_source(folder, base)}}}"
        for name, folder in _trained(recipe)
        if folder.resolve() not in served
    ]
    if not lines:
        return
    where = near[0] if near else "your document (`moorage init` writes one)"
    print(f"\nTo serve what was trained, put this into {where}; a running `moorage up` takes it:\n")
    print("\n".join(["spec:", "  adapters:", *lines]))


def _trained(recipe: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of each adapter of a recipe that has just been trained, so that it is
    valid.
    """
    from ruamel.yaml import YAML

    body: Any = YAML(typ="safe", pure=True).load(recipe.read_text(encoding="utf-8"))
    for adapter in body["adapters"]:
        yield str(adapter["name"]), recipe.absolute().parent / str(adapter["output"])


def _served(files: list[Path]) -> frozenset[Path]:
    """The folders that valid documents name; none where they cannot be read."""
    from reconciler.api.manifest import load
    from reconciler.api.problems import ManifestError

    try:
        return load(files).folders if files else frozenset()
    except ManifestError:
        return frozenset()


def _source(folder: Path, base: Path) -> str:
    path = Path(os.path.relpath(folder.resolve(), base.resolve())).as_posix()
    return path if path.startswith("..") else f"./{path}"
