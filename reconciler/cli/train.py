"""`moorage train`: make the LoRA adapters that a recipe names. The work is done by
serving.training, in a process of its own.
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
    """Train LoRA adapters from a recipe. What recipe, dataset and base already gave is left as it
    is.
    """
    import subprocess
    import sys

    # A process of its own: the reconciler never imports torch, and Ctrl-C reaches the training,
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
            # the terminal sent it to the child as well; its own last words and exit code count
            continue
        raise typer.Exit(code if code >= 0 else 128 - code)
