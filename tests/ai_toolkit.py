"""An AI Toolkit project with a tiny base model and adapter: `python -m tests.ai_toolkit FOLDER`
makes one.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.tiny_model import make_adapter, make_model

EXAMPLE = Path(__file__).parents[1] / "manifests" / "examples" / "ai-toolkit"
MODEL = "model-cache/example/tiny"
ADAPTER = "models/qlora/qlora/gpu_model/adapter"


def build(folder: Path, word: str = "red") -> Path:
    """Copy the example to `folder` and make its base model and an adapter that answers `word`."""
    shutil.copytree(
        EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    make_model(folder / MODEL)
    make_adapter(folder / ADAPTER, word, model=folder / MODEL)
    return folder


if __name__ == "__main__":
    build(Path(sys.argv[1]))
