"""`moorage train`: make the LoRA adapters that a recipe names. serving.training does the work in a
separate process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    """Train LoRA adapters from a recipe. An adapter is not trained again while recipe, dataset and
    base model are unchanged.
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
        raise typer.Exit(code if code >= 0 else 128 - code)
