"""The `moorage` command: one command per file. Nothing heavy is imported before a command runs, so
that --help is instant.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of the console script; turns every error of ours into one sentence and an exit
    code.
    """
    try:
        from reconciler.cli.app import run

        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # whoever started it has closed the stream (`<&-`)
                setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before the command ran, or while its error was being told
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
