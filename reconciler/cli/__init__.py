"""The `moorage` command: one command per file. Nothing heavy is imported before a command runs, so
that --help is instant.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console script; turns every error of ours into one sentence and an exit
    code.
    """
    from reconciler.cli.app import run

    sys.exit(run(sys.argv[1:]))
