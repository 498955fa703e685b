"""Which files a manifest consists of, and their bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from reconciler.api.problems import Problem
from reconciler.api.regular_files import NEITHER, read_regular
from reconciler.api.yaml_tree import MAX_BYTES

ENDINGS = (".yaml", ".yml")


def manifest_files(paths: Sequence[Path], problems: list[Problem]) -> list[Path]:
    """The files in `paths` and the `*.yaml` and `*.yml` directly in its folders, sorted; hidden
    ones are left out.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        for file in _files_of(path, problems):
            files.setdefault(file.absolute(), file)
    return list(files.values())


def is_manifest_file(path: Path) -> bool:
    """Whether a file in a manifest's folder counts."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def read_file(file: Path, problems: list[Problem]) -> bytes | None:
    """The file's bytes, or None and a problem. One byte more than allowed is read, so that the size
    can be judged.
    """
    try:
        return read_regular(file, MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        problems.append(_unreadable(file, error))
        return None


def _files_of(path: Path, problems: list[Problem]) -> list[Path]:
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        # A link to nothing counts too: leaving it out would look as if its documents were deleted.
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not _is_folder(entry)]
        files = [file for name in sorted(names) if is_manifest_file(file := path / name)]
    except (OSError, ValueError) as error:
        problems.append(_unreadable(path, error))
        return []
    if not files:
        problems.append(
            Problem(path, 0, 0, "the folder holds no *.yaml or *.yml", "put the documents there")
        )
    return files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """An entry knows by itself what it is; only a link must be followed."""
    return Path(entry).is_dir() if entry.is_symlink() else entry.is_dir(follow_symlinks=False)


def _unreadable(path: Path, error: Exception) -> Problem:
    if isinstance(error, FileNotFoundError):
        return Problem(
            path, 0, 0, "there is no such file or folder", "name a YAML file or a folder of them"
        )
    if isinstance(error, OSError) and error.strerror == NEITHER:
        return Problem(path, 1, 1, f"it {NEITHER}", "name a YAML file or a folder of them")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(path, 1, 1, f"it cannot be read ({reason})", "make it readable")
