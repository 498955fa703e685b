"""What every command needs: settings, the state directory and the documents. Each common option is
declared here once.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from reconciler.api.manifest import Manifest
    from reconciler.engine.store import Store
    from reconciler.settings import Settings

Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        help="The desired-state file or a folder of them; may be given more than once.",
        metavar="PATH",
    ),
]
Target = Annotated[
    str | None,
    typer.Option("--target", help="local or azure", envvar="MOORAGE_TARGET", metavar="TARGET"),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="Where state is kept (default .moorage).",
        envvar="MOORAGE_STATE_DIR",
        metavar="DIR",
    ),
]
Output = Annotated[str, typer.Option("--output", "-o", help="text or json", metavar="FORMAT")]
Service = Annotated[str, typer.Argument(help="The InferenceService's name.", metavar="SERVICE")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def manifest_of(files: Sequence[Path] | None) -> Manifest:
    """The documents in `files`; ManifestError becomes exit code 2 in `app.run`."""
    from reconciler.api.manifest import load

    if not files:
        raise CommandError("Say which documents: -f FILE, or -f FOLDER.", Exit.INVALID)
    return load(list(files))


def settings_of(target: str | None, state_dir: Path | None, **given: Any) -> Settings:
    """Settings for a command that talks to its target. With the target local, a local Azure is
    started if none runs.
    """
    from reconciler.cli.local_azure import start_local
    from reconciler.settings import Settings

    return Settings.load(start_local, target=target, state_dir=state_dir, **given)


def open_store(target: str | None, state_dir: Path | None) -> tuple[Store | None, str, Path]:
    """The state that the daemon last wrote, opened for reading; the target's title; and the
    daemon's folder. Starts nothing.
    """
    from reconciler.engine.store import Store
    from reconciler.settings import place_of

    folder, key, title = place_of(target=target, state_dir=state_dir)
    path = folder / "state.db"
    store = Store.read(path, key)
    if store is None and path.exists():
        print(
            f"{path} cannot be read: it is damaged, or of another release. What it held is not"
            " known here; a running daemon writes it anew.",
            file=sys.stderr,
        )
    return store, title, folder


@contextmanager
def writable_store(folder: Path, key: str) -> Iterator[Store]:
    """The store in the daemon's `folder`, to leave a running daemon word in; exit code 1 where it
    cannot be written.
    """
    from reconciler.engine.store import Store

    path = folder / "state.db"
    try:
        store = Store.open(path, key)
        try:
            yield store
        finally:
            store.close()
    except (sqlite3.Error, OSError) as error:
        raise CommandError(f"{path} cannot be written ({error}): nothing is changed.") from None


def daemon_facts(folder: Path) -> dict[str, Any]:
    """Whether a daemon uses this state directory; the daemon holds a lock."""
    from reconciler.lock import holder

    pid = holder(folder / "lock")
    return {"running": pid is not None, "pid": pid}


def ask(question: str, otherwise: str) -> None:
    """Continue only if a person at a terminal answers yes. Exit code 4 otherwise, and without a
    terminal.
    """
    if not sys.stdin.isatty():
        raise CommandError(f"{otherwise} Say -y to go ahead.", Exit.HUMAN)
    if not typer.confirm(question):
        raise typer.Exit(Exit.HUMAN)


def check_output(output: str) -> bool:
    """True for json; exit code 2 for anything but text and json."""
    if output not in ("text", "json"):
        raise CommandError(f"--output must be text or json, not {output!r}", Exit.INVALID)
    return output == "json"


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))
