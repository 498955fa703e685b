"""`python -m serving.training RECIPE [--force]`, which `moorage train` runs.

Exit codes: 0 done, 1 failed, 2 bad recipe or dataset, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serving.training.errors import TrainingError
from serving.training.run import train


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serving.training",
        description="Train the LoRA adapters that a recipe names.",
    )
    parser.add_argument(
        "recipe", type=Path, help="a YAML recipe, for example manifests/demo/train.yaml"
    )
    parser.add_argument(
        "--force", action="store_true", help="make everything again, even what is up to date"
    )
    options = parser.parse_args()
    try:
        train(options.recipe, force=options.force)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(
            f"error: {error.filename or options.recipe}: {error.strerror or error}", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("stopped; the next run continues from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
