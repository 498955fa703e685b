"""Brings a published adapter from the share to the replica's own disk, verified against its
manifest.

vLLM re-reads an adapter from its path inside the engine's loop whenever its cache has dropped it,
so the path must be local, must never change and must outlive every request. Blocking; adapters.py
calls it in a thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from serving.catalogue import DISK, AdapterReason, AdapterVersion

MANIFEST = ".moorage.json"
_SPARE = 64 << 20  # bytes left free, so that vLLM's own files never meet a full disk
_CHUNK = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class AdapterError(Exception):
    """An adapter cannot be served; the text is a sentence for a person."""

    def __init__(self, reason: AdapterReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LocalCopies:
    """Folders `<root>/<name>@<digest>`, each complete or absent, together within `budget` bytes."""

    def __init__(self, share: Path, root: Path, budget: int = DISK) -> None:
        self._share, self._root, self._budget = share, root, budget

    def fetch(self, name: str, version: AdapterVersion) -> Path:
        """The local folder of a version, copied if it does not exist. Raises AdapterError."""
        if not _NAME.fullmatch(name) or not _NAME.fullmatch(version.digest):
            raise AdapterError(AdapterReason.BAD_NAME, f"{name!r} cannot be the name of an adapter")
        target = self._root / f"{name}@{version.digest}"
        if target.is_dir():
            return target
        try:
            source = self._source(version)
            files = _manifest(source, version)
            scratch = target.with_name(f".{target.name}")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            self._check_space(scratch, sum(size for size, _ in files.values()))
            for path, (size, sha256) in files.items():
                _copy(source / path, scratch / path, size, sha256)
            # Renamed when it is whole, so that a crash leaves nothing that looks like a version.
            scratch.rename(target)
        except OSError as error:
            raise AdapterError(
                AdapterReason.UNREADABLE,
                f"copying {version.path} failed: {error.strerror or error}",
            ) from error
        return target

    def remove(self, name: str, digest: str) -> None:
        shutil.rmtree(self._root / f"{name}@{digest}", ignore_errors=True)

    def sweep(self, keep: Collection[tuple[str, str]]) -> None:
        """Remove the folders of an earlier process, except the names and digests in `keep`."""
        kept = {f"{name}@{digest}" for name, digest in keep}
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _check_space(self, scratch: Path, needed: int) -> None:
        free = shutil.disk_usage(scratch).free
        if free < needed + _SPARE:
            raise AdapterError(
                AdapterReason.NO_SPACE,
                f"the replica's disk has {_mib(free)} MiB free, the adapter needs"
                f" {_mib(needed)} MiB",
            )
        used = _used(self._root)
        if used + needed > self._budget:
            raise AdapterError(
                AdapterReason.NO_SPACE,
                f"adapters may take {_mib(self._budget)} MiB of the replica's disk, {_mib(used)}"
                f" MiB are taken, this one needs {_mib(needed)} MiB",
            )

    def _source(self, version: AdapterVersion) -> Path:
        if not _inside(version.path):
            raise AdapterError(
                AdapterReason.BAD_PATH, f"{version.path!r} does not stay inside the share"
            )
        return self._share / version.path


def _manifest(source: Path, version: AdapterVersion) -> Mapping[str, tuple[int, str]]:
    try:
        manifest = json.loads((source / MANIFEST).read_bytes())
        digest = manifest["digest"]
        files = {
            str(path): (int(size), str(sha256))
            for path, (size, sha256) in manifest["files"].items()
        }
    # Written last, so without it the upload still runs. That passes; a damaged one does not.
    except FileNotFoundError:
        raise AdapterError(
            AdapterReason.NOT_PUBLISHED, f"{version.path} is not complete on the share yet"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AdapterError(
            AdapterReason.CORRUPT, f"the manifest of {version.path} is damaged"
        ) from None
    if digest != version.digest or not all(map(_inside, files)):
        raise AdapterError(
            AdapterReason.CORRUPT, f"the manifest of {version.path} describes something else"
        )
    return files


def _used(root: Path) -> int:
    """Bytes of all files below. Copies run side by side: a folder that has just got its final name
    counts or does not, and is no error. `os.walk` passes over folders that went away.
    """
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(folder, name).stat().st_size
    return total


def _inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts


def _mib(size: int) -> int:
    return -(-size // (1 << 20))


def _copy(source: Path, target: Path, size: int, sha256: str) -> None:
    """Hash while copying: what was hashed is what was written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, length = hashlib.sha256(), 0
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(source, flags), "rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            length += len(chunk)
            writer.write(chunk)
    if (length, digest.hexdigest()) != (size, sha256):
        raise AdapterError(
            AdapterReason.CORRUPT, f"{source.name} on the share does not match its manifest"
        )
