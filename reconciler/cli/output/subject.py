"""What a command speaks of: a target and a set of documents. The first line of its text says it,
and so does the envelope of its JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.place import documents_near

if TYPE_CHECKING:
    from reconciler.engine.store import Store
    from reconciler.settings import Settings
    from reconciler.sources.identity import DocumentSet


@dataclass(frozen=True)
class Subject:
    """`target` is its title. `documents` is None before the first run; `files` are then those that
    the command line means, the nearest ones where it names none.
    """

    target: str
    documents: DocumentSet | None
    files: Sequence[Path] = ()
    commit: str = ""

    def __str__(self) -> str:
        if self.documents is None:
            files = self.files or documents_near()
            near = ", ".join(_near_path(file.absolute()) for file in files)
            return f"target: {self.target}" + (
                f"   documents: {near} (not run yet)" if near else ""
            )
        shown = ", ".join(_near_path(file) for file in self.documents.files)
        if self.documents.repository:
            shown = f"{self.documents.repository} @ {self.commit[:12]}"
        return f"target: {self.target}   documents: {shown} (set {self.documents.identity.id})"

    def show(self, *, aside: bool = False) -> None:
        """Print it, on a terminal between words. `aside` is for a command whose output is a value
        or the lines of others: standard error then says it, where a person looks on.
        """
        from reconciler.cli.output.console import Console
        from reconciler.cli.output.layout import heading, width_of

        if aside and not sys.stdout.isatty():
            return
        console = Console(stderr=aside, highlight=False)
        for line in heading(str(self), width_of(console)):
            console.print(line, markup=False, soft_wrap=True)


def set_in(store: Store | None) -> DocumentSet | None:
    """The set of documents whose state is in the store."""
    from reconciler.sources import sets

    return sets.last(store) if store else None


def subject_in(store: Store | None, title: str, files: Sequence[Path] = ()) -> Subject:
    """What the store says of the documents; `title` is the target's."""
    documents = set_in(store)
    if store is None or documents is None:
        return Subject(title, documents, files)
    commit = store.of_set(documents.identity.id).get("commit") or ""
    return Subject(title, documents, files, commit)


def subject_of(settings: Settings, files: Sequence[Path] = ()) -> Subject:
    """The subject of a command that talks to the target of `settings`."""
    from reconciler.engine.store import Store

    store = Store.read(settings.daemon_dir / "state.db", settings.target_key)
    with closing(store) if store else nullcontext():
        return subject_in(store, settings.target_title, files)


def subject_near(target: str | None, state_dir: Path) -> Subject:
    """The subject of a command that talks to nobody, or that failed before it did.

    Raises:
        SettingsError: the settings name no target.
    """
    from reconciler.engine.store import Store
    from reconciler.settings import place_of

    folder, key, title = place_of(target=target, state_dir=state_dir)
    store = Store.read(folder / "state.db", key)
    with closing(store) if store else nullcontext():
        return subject_in(store, title)


def _near_path(path: Path) -> str:
    here = Path.cwd()
    near = path.relative_to(here) if path.is_relative_to(here) else path
    return "this folder" if near == Path() else str(near)
