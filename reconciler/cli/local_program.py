"""The local Azure's own program, which runs as another process: how to start it and how to reach
one that runs. `context` needs it for most commands; `local_azure` has the commands about it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.cli.exits import CommandError
from reconciler.cli.output.layout import say


def start_local(state_dir: Path) -> Mapping[str, Any]:
    """Start the local Azure unless it runs, and return the values with which a client reaches it.
    Says so if it was not running, so that none starts unnoticed.

    Raises:
        CommandError: it did not start; the message is its own.
    """
    where = folder(state_dir)
    new = not (where / "tls").exists()
    done = run("start", state_dir, "-o", "json")
    facts = _facts(done)
    if done.stderr.strip():
        say(_last_line(done.stderr), aside=True)
    if facts.get("started"):
        what = "A new local Azure runs" if new else "The stopped local Azure runs again"
        say(f"{what} in {where}; `moorage local-azure stop` stops it.", aside=True)
    return facts


def _facts(started: subprocess.CompletedProcess[str]) -> Mapping[str, Any]:
    if started.returncode:
        raise CommandError(
            f"The local Azure did not start: {_last_line(started.stderr or started.stdout)}"
        )
    facts: Mapping[str, Any] = json.loads(started.stdout)
    return facts


def _last_line(text: str) -> str:
    """The last line, which says what went wrong."""
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def reach_local(state_dir: Path) -> Mapping[str, Any]:
    """The values with which a client reaches the local Azure that runs; starts none.

    Raises:
        CommandError: none runs.
    """
    where = folder(state_dir)
    done = run("status", state_dir, "-o", "json") if where.exists() else None
    if done is not None and done.returncode == 0 and json.loads(done.stdout)["running"]:
        return _facts(run("start", state_dir, "-o", "json"))
    if (where / "tls").exists():
        raise CommandError(
            f"The local Azure in {where} is stopped, and nothing serves. `moorage up` starts it"
            " again with all that is in it; so does `moorage local-azure start`."
        )
    raise CommandError(
        f"There is no local Azure in {where}: nothing has been deployed from here. `moorage up`"
        " starts one and deploys; to speak of another project, change to its folder, or name its"
        " documents with -f."
    )


def run(command: str, state_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    line = [*program_line(command, state_dir), *options]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def program_line(command: str, state_dir: Path) -> list[str]:
    """The command line of the local Azure's own program."""
    program = [sys.executable, "-m", "infra.local_azure", *command.split()]
    return [*program, "--state-dir", str(folder(state_dir))]


def folder(state_dir: Path) -> Path:
    return state_dir.absolute() / "local-azure"
