"""Reads a model's weights from a share by several readers at once, while vLLM still imports its
modules, so that vLLM finds them in the page cache. One stream of a share is slow; several add up.
launch.py starts it. A model on a local disk is left alone.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

READERS = 8  # of a model on a share, unless the document says otherwise
VARIABLE = "MOORAGE_READERS"
_MOST_READERS = 64
_CHUNK, _BLOCK = 32 << 20, 1 << 20
_ROOM = 0.8  # of the memory that is free: pages beyond would push out the first ones
_MOST_FILES = 512
_WEIGHTS = (".safetensors", ".bin", ".gguf")
_NETWORK = {"cifs", "smb3", "nfs", "nfs4", "fuse.smb"}
log = logging.getLogger("moorage.launch")


class ReadAhead:
    """`files` are kept open until `close`: an SMB client keeps what it has read only while it has
    the file open.
    """

    def __init__(self, files: Iterable[Path], readers: int) -> None:
        self._files, self._readers = list(files), readers
        self._left: deque[tuple[Path, int]] = deque()
        self._held: list[int] = []
        self._lock = threading.Lock()
        self._stopped = False
        self._threads: list[threading.Thread] = []
        self.bytes, self.seconds = 0, 0.0

    def start(self) -> None:
        """Begin to read; returns at once."""
        # A daemon thread, so that the process can end while a share hangs.
        self._threads = [threading.Thread(target=self._run, name="read ahead", daemon=True)]
        self._threads[0].start()

    def join(self, seconds: float | None = None) -> None:
        for thread in self._threads:
            thread.join(seconds)

    def close(self) -> None:
        """Stop reading and close the files."""
        self._stopped = True
        self._left.clear()
        with self._lock:
            held, self._held = self._held, []
        for descriptor in held:
            with suppress(OSError):
                os.close(descriptor)

    def _run(self) -> None:
        began = time.monotonic()
        try:
            total = sum(self._open(path) for path in self._files[:_MOST_FILES])
        except OSError as error:
            log.warning("the weights are not read ahead: %s", error)
            return
        free = free_memory()
        # If the files are larger, the cache drops the first bytes before vLLM reads them, and
        # everything is read twice.
        if total > _ROOM * free:
            log.info(
                "the weights are not read ahead: %d MiB, and %d MiB are free",
                _mib(total),
                _mib(free),
            )
            self.close()
            return
        readers = [
            threading.Thread(target=self._read, name=f"reader {index}", daemon=True)
            for index in range(self._readers)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.seconds = time.monotonic() - began
        if not self._stopped:
            text = "read %d MiB of weights ahead in %.1f s with %d readers"
            log.info(text, _mib(self.bytes), self.seconds, self._readers)

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY)
        with self._lock:
            self._held.append(descriptor)
        size = os.fstat(descriptor).st_size
        self._left.extend((path, at) for at in range(0, size, _CHUNK))
        return size

    def _read(self) -> None:
        buffer = bytearray(_BLOCK)
        while not self._stopped:
            try:
                path, at = self._left.popleft()
            except IndexError:
                return
            try:
                with path.open("rb", buffering=0) as file:
                    file.seek(at)
                    for _ in range(0, _CHUNK, _BLOCK):
                        if self._stopped or not (count := file.readinto(buffer)):
                            break
                        with self._lock:
                            self.bytes += count
            except OSError as error:
                log.warning("reading %s ahead failed: %s", path.name, error)
                return


def read_ahead(model: str | None, environment: Mapping[str, str]) -> ReadAhead | None:
    """The reader for the model of these arguments; None if reading ahead gains nothing."""
    folder = Path(model or "")
    given = environment.get(VARIABLE, "")
    readers = min(int(given), _MOST_READERS) if given.isdigit() else None
    if not model or readers == 0 or not folder.is_dir():
        return None
    if readers is None and not on_a_share(folder):
        return None
    files = weight_files(folder)
    return ReadAhead(files, readers or READERS) if files else None


def weight_files(folder: Path) -> list[Path]:
    """The files that vLLM will map, in the order in which it does."""
    for suffix in _WEIGHTS:
        found = sorted(path for path in folder.glob(f"*{suffix}") if path.is_file())
        # A second copy of the same weights, which vLLM leaves out as well.
        rest = [path for path in found if not path.name.startswith("consolidated")]
        if found:
            return rest or found
    return []


def on_a_share(folder: Path, mounts: str | None = None) -> bool:
    """Whether the folder is on a network file system, by the text of /proc/self/mountinfo."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
    place, kind = folder.resolve(), ""
    longest = -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), fields[4]))
        # Of mounts at one place the last one counts.
        if place.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), after.split(" ")[0]
    return kind in _NETWORK


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that the container may still fill with pages."""
    free = 0
    with suppress(OSError, ValueError, IndexError):
        text = (proc / "meminfo").read_text()
        free = int(text.partition("MemAvailable:")[2].split()[0]) << 10
    with suppress(OSError, ValueError):  # "max" where there is no limit
        free = min(free, int((groups / "memory.max").read_text()))
    return free


def _mib(size: int) -> int:
    return size >> 20
