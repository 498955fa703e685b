"""Tells whether a folder is up to date: digests of the inputs are kept beside the output. No torch
here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

HERE = Path(__file__).parent
TRAINING_CODE = tuple(HERE / name for name in ("encoding.py", "fit.py"))
TRAINING_PACKAGES = ("torch", "transformers", "peft")
CONVERSION_CODE = tuple(
    HERE / name for name in ("conversion.py", "gguf_file.py", "gguf_tokenizer.py")
)
CONVERSION_PACKAGES = ("gguf", "tokenizers")


class FileFact(BaseModel):
    """A file as it was when it was hashed. While its size and time are the same, the hash is
    reused.
    """

    size: int
    modified_ns: int
    sha256: str


class Record(BaseModel):
    """What a folder was made from (`inputs`), what it held then (`outputs`), and the facts that
    spare hashing it again.
    """

    inputs: str
    outputs: dict[str, FileFact] = {}
    sources: dict[str, FileFact] = {}


def read_record(path: Path) -> Record | None:
    """The record at `path`, or None when there is none that can be trusted."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_record(path: Path, record: Record) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def describe_folder(folder: Path, known: dict[str, FileFact] | None = None) -> dict[str, FileFact]:
    """Every file of a folder by its relative path; hashes are taken from `known` where size and
    time agree.
    """
    return {
        path.relative_to(folder).as_posix(): describe_file(
            path, (known or {}).get(path.relative_to(folder).as_posix())
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def describe_file(path: Path, known: FileFact | None = None) -> FileFact:
    status = path.stat()
    if known is not None and (known.size, known.modified_ns) == (
        status.st_size,
        status.st_mtime_ns,
    ):
        return known
    with path.open("rb") as file:
        return FileFact(
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            sha256=hashlib.file_digest(file, "sha256").hexdigest(),
        )


def folder_stands(folder: Path, outputs: dict[str, FileFact]) -> bool:
    """Whether the folder still holds exactly these files with these contents."""
    if not folder.is_dir() or not outputs:
        return False
    current = describe_folder(folder, outputs)
    return {name: fact.sha256 for name, fact in current.items()} == {
        name: fact.sha256 for name, fact in outputs.items()
    }


def digest(parts: Any) -> str:
    """SHA-256 of JSON-able parts in one canonical spelling."""
    return hashlib.sha256(
        json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def contents(facts: dict[str, FileFact]) -> dict[str, str]:
    """Names and hashes alone: what a digest is made of, because times differ between machines."""
    return {name: fact.sha256 for name, fact in facts.items()}


def code_version(files: Iterable[Path], packages: Iterable[str]) -> dict[str, str]:
    """The code that decides the result: our files by hash, other packages by version."""
    ours = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return ours | {name: _installed(name) for name in packages}


def relative(path: Path) -> str:
    """A path as a person would type it from here."""
    return os.path.relpath(path)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
