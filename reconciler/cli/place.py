"""Which documents and which state a command means when the command line does not say. State belongs
to documents, so that every subfolder of a project finds the same state. `context` uses it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from reconciler.cli.exits import CommandError, Exit

NAMES = ("moorage.yaml", "moorage.yml")
STATE = ".moorage"
_OURS = re.compile(rb"^apiVersion:\s*[\"']?moorage\.dev/", re.MULTILINE)
_HEAD = 65536  # bytes of a file in which its apiVersion must stand
# The documents that the -f of the running command names.
_named: ContextVar[tuple[Path, ...]] = ContextVar("_named", default=())
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<plain>\w+))")


def documents_near() -> tuple[Path, ...]:
    """The documents that a command means: those of `naming_documents`, the nearest moorage.yaml
    above, else the folder itself if it holds documents.
    """
    if named := _named.get():
        return named
    here = Path.cwd()
    for folder in _project(here):
        for name in NAMES:
            if (folder / name).is_file():
                return (_shown(folder / name),)
    return (Path(),) if _holds_documents(here) else ()


@contextmanager
def naming_documents(files: Sequence[Path]) -> Iterator[Path | None]:
    """Within it, `documents_near` returns `files` if there are any. Yields their state directory,
    or None.

    Raises:
        CommandError: there is no such file or folder.
    """
    named = tuple(expanded(file) for file in files)
    for file in named:
        if not file.exists():
            raise CommandError(f"{file}: there is no such file or folder.", Exit.INVALID)
    token = _named.set(named)
    try:
        yield state_near(named) if named else None
    finally:
        _named.reset(token)


def state_of(state_dir: Path | None, files: Sequence[Path] | None = None) -> Path:
    """The state directory: the one that was given, else that of the documents."""
    given = state_dir or os.environ.get("MOORAGE_STATE_DIR")
    if given:
        return expanded(Path(given))
    return state_near([expanded(file) for file in files or ()])


def state_near(files: Sequence[Path] = ()) -> Path:
    """The state directory of `files`, or of the current folder where none are given. A state
    directory that does not exist yet belongs beside a moorage.yaml, or in the current folder where
    the documents are below it.
    """
    here = Path.cwd()
    documents = tuple(file.absolute() for file in files or documents_near())
    folder = _common(documents) if documents else here
    for each in _project(folder):
        if _is_ours(each / STATE):
            return _shown(each / STATE)
    whole = any((folder / name).is_file() for name in NAMES)
    below = folder.is_relative_to(here)
    return _shown((here if below and not whole else folder) / STATE)


def expanded(path: Path) -> Path:
    """`path` with `~` and variables filled in, where no shell has done so.

    Raises:
        CommandError: a variable is not set, or a user is not known.
    """
    text = str(path)
    if path.exists() or not ("$" in text or text.startswith("~")):
        return path
    for match in _VARIABLE.finditer(text):
        name = match["braced"] or match["plain"] or ""
        if name not in os.environ:
            raise CommandError(f"{text}: the variable {name} is not set.", Exit.INVALID)
    try:
        return Path(os.path.expandvars(text)).expanduser()
    except RuntimeError:
        raise CommandError(f"{text}: there is no such user.", Exit.INVALID) from None


def _project(folder: Path) -> Iterator[Path]:
    """`folder` and the folders above it that belong to the same project. A project ends at a
    moorage.yaml, at the top of a Git repository, and below the home folder.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - unlike Path.home, it never fails
    for each in (folder, *folder.parents):
        if each != folder and each in (home, each.parent):
            return
        yield each
        if (each / ".git").exists() or any((each / name).is_file() for name in NAMES):
            return


def _is_ours(folder: Path) -> bool:
    """Whether it is a state directory of this user: one that another user left in a shared folder
    is not trusted.
    """
    try:
        return folder.is_dir() and (
            not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
        )
    except OSError:
        return False


def _holds_documents(folder: Path) -> bool:
    try:
        return any(
            _is_document(file)
            for file in folder.iterdir()
            if file.suffix.lower() in (".yaml", ".yml") and not file.name.startswith(".")
        )
    except OSError:
        return False


def _is_document(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return _OURS.search(opened.read(_HEAD)) is not None
    except OSError:
        return False


def _common(documents: Sequence[Path]) -> Path:
    folders = [Path(os.path.realpath(each if each.is_dir() else each.parent)) for each in documents]
    return Path(os.path.commonpath(folders))


def _shown(path: Path) -> Path:
    """Relative to the current folder where it lies below it, as people write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
