"""What every command needs: settings, the state directory and the documents. Each common option is
declared here once; `place` says what is meant where an option is left out.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.exits import CommandError, Exit, words
from reconciler.cli.output.subject import set_in
from reconciler.cli.place import NAMES, documents_near, expanded, state_near, state_of

if TYPE_CHECKING:
    from reconciler.api.manifest import Manifest
    from reconciler.engine.store import Store
    from reconciler.settings import Settings
    from reconciler.sources.identity import DocumentSet


def _services(incomplete: str) -> list[str]:
    """The names of services for the shell's completion; none where they cannot be read."""
    with suppress(Exception):  # a shell has no place for an error
        store, _, _ = open_store(None, None)
        rows = store.documents() if store else ()
        names = [row.ref.name for row in rows if row.ref.kind == "InferenceService"]
        return [name for name in names if name.startswith(incomplete)]
    return []


Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        help=(
            "The desired-state file or a folder of them; may be given more than once (default:"
            " moorage.yaml here or above, or the documents in this folder)."
        ),
        metavar="PATH",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target", help="local or azure (default local)", envvar="MOORAGE_TARGET", metavar="TARGET"
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="Where state is kept (default: .moorage beside the documents or above them).",
        envvar="MOORAGE_STATE_DIR",
        metavar="DIR",
    ),
]
Service = Annotated[
    str,
    typer.Argument(
        help="The InferenceService's name.", metavar="SERVICE", autocompletion=_services
    ),
]
Documents = Annotated[
    list[str] | None,
    typer.Argument(
        help="NAME or KIND/NAME; all, if left out.",
        metavar="DOCUMENT",
        autocompletion=_services,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def documents_of(files: Sequence[Path] | None) -> list[Path]:
    """The documents that a command line means: those of `-f`, else the nearest ones, else those
    that were last run from the state directory here. Empty where there are none.
    """
    if files:
        return [expanded(file) for file in files]
    near = documents_near()
    if near:
        return list(near)
    last = _remembered(state_near() / "daemon")
    return [file for file in last.files if file.exists()] if last else []


def manifest_of(files: Sequence[Path] | None) -> Manifest:
    """The documents in `files`, or those that `documents_of` finds; ManifestError becomes exit code
    2 in `app.run`.
    """
    from reconciler.api.manifest import load

    found = documents_of(files)
    if not found:
        raise CommandError(
            f"There are no documents here: no {NAMES[0]} in {Path.cwd()} or above it. Name the"
            " documents with -f FILE or -f FOLDER; `moorage init` writes a first document.",
            Exit.INVALID,
        )
    return load(found)


def settings_of(
    target: str | None,
    state_dir: Path | None,
    files: Sequence[Path] | None = None,
    *,
    start: bool = False,
    **given: Any,
) -> Settings:
    """Settings for a command that talks to its target. With the target local, a local Azure must
    run; with `start` it is started if none does.
    """
    from reconciler.cli.local_program import reach_local, start_local
    from reconciler.settings import Settings

    folder = state_of(state_dir, files)
    if start:
        _make(folder)
    reach = start_local if start else reach_local
    return Settings.load(reach, target=target, state_dir=folder, **given)


def _make(folder: Path) -> None:
    """Make the state directory, so that one that cannot be is told before anything starts."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CommandError(
            f"The state directory {folder} cannot be made ({words(error)}): nothing is started or"
            " changed. Say another with --state-dir.",
            Exit.INVALID,
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(
            f"The state directory {folder} cannot be written to: nothing is started or changed."
            " Say another with --state-dir.",
            Exit.INVALID,
        )


def open_store(target: str | None, state_dir: Path | None) -> tuple[Store | None, str, Path]:
    """The state that the daemon last wrote, opened for reading; the target's title; and the
    daemon's folder. Starts nothing.
    """
    from reconciler.engine.store import Store
    from reconciler.settings import place_of

    folder, key, title = place_of(target=target, state_dir=state_of(state_dir))
    path = folder / "state.db"
    store = Store.read(path, key)
    if store is None and path.exists():
        print(
            f"{path} cannot be read: it is damaged, or of another release. What it held is not"
            " known here; a running daemon writes it again.",
            file=sys.stderr,
        )
    return store, title, folder


def _remembered(daemons: Path) -> DocumentSet | None:
    """The set that was last run from a state directory, whatever its target was."""
    from reconciler.engine.store import Store

    for path in sorted(daemons.glob("*/state.db")):
        store = Store.read(path, path.parent.name)
        found = set_in(store)
        if store is not None:
            store.close()
        if found is not None:
            return found
    return None


@contextmanager
def writable_store(folder: Path, key: str) -> Iterator[Store]:
    """The store in the daemon's `folder`, to leave an order for the daemon in: the whole order or
    nothing of it. Exit code 1 where it cannot be written.
    """
    from reconciler.engine.store import Store

    path = folder / "state.db"
    try:
        store = Store.open(path, key)
        try:
            with store.transaction():
                yield store
        finally:
            store.close()
    except (sqlite3.Error, OSError) as error:
        raise CommandError(
            f"{path} cannot be written ({words(error)}): nothing is changed."
        ) from None


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
        raise CommandError(f"{otherwise} There is no terminal to ask; use -y to do it.", Exit.HUMAN)
    # asyncio's own handler only cancels the task, which a question that waits for an answer is not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        agreed = typer.confirm(question, err=True)
    finally:
        signal.signal(signal.SIGINT, before)
    if not agreed:
        raise typer.Exit(Exit.HUMAN)
