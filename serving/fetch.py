"""`python3 -m serving.fetch`: what a container-apps job runs to bring a hub's model onto the share,
file by file, verified.

Any image with Python runs it: standard library only. A file gets its name once its hash is right,
an interrupted download continues where it stopped, and the manifest is written last. hub.py asks
the hub; the reconciler reads the progress (kinds/job.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from serving.hub import Hub, HubError, HubFile

MANIFEST = ".moorage.json"
PROGRESS = "progress.jsonl.tmp"  # like every *.tmp, not a part of the model
AT_ONCE = 4
BEAT = 2.0  # seconds between two lines of progress
_CHUNK = 4 << 20


@dataclass(frozen=True)
class FetchOrder:
    """What to bring where; `token` opens private and gated repositories."""

    repository: str
    revision: str
    folder: Path
    endpoint: str = "https://huggingface.co"
    token: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> FetchOrder:
        return cls(
            environment["MOORAGE_REPOSITORY"],
            environment["MOORAGE_REVISION"],
            Path(environment["MOORAGE_FOLDER"]),
            environment.get("HF_ENDPOINT") or cls.endpoint,
            environment.get("HF_TOKEN", ""),
        )


def main() -> int:
    """Exit codes: 0 done, 1 failed and worth another try, 2 the hub refuses and will go on
    refusing.
    """
    order = FetchOrder.of(os.environ)
    meter = Meter(order.folder)
    try:
        order.folder.mkdir(parents=True, exist_ok=True)
        fetch(order, meter)
    except HubError as error:
        meter.end(error.reason, str(error))
        return 2 if error.final else 1
    except OSError as error:
        meter.end("Unwritable", f"the share cannot be written: {error.strerror or error}")
        return 1
    return 0


def fetch(order: FetchOrder, meter: Meter) -> str:
    """Bring every file of the revision and write the manifest; returns the folder's digest. Raises
    HubError, OSError.
    """
    hub = Hub(order.endpoint, order.token)
    commit, files = hub.files(order.repository, order.revision)
    there = {file.path for file in files if _has(order.folder, file)}
    meter.begin(
        sum(file.size for file in files), sum(file.size for file in files if file.path in there)
    )
    with meter, ThreadPoolExecutor(AT_ONCE) as threads:
        work = [
            threads.submit(_bring, hub, order, commit, file, meter)
            for file in files
            if file.path not in there
        ]
        try:
            for each in work:
                each.result()
        except BaseException:
            # The first failure ends it: what has arrived stays, and the next execution goes on from
            # it.
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    listed = {
        file.path: [file.size, _sha256(order.folder, file)]
        for file in sorted(files, key=lambda file: file.path.encode())
    }
    digest = hashlib.sha256(
        "".join(f"{path}\0{size}\0{sha}\n" for path, (size, sha) in listed.items()).encode()
    ).hexdigest()
    manifest = {
        "digest": digest,
        "files": listed,
        "source": f"hf://{order.repository}@{order.revision}",
        "commit": commit,
    }
    # Last and by a rename, because the manifest is what says that a folder is whole.
    scratch = order.folder / f"{MANIFEST}.tmp"
    scratch.write_text(json.dumps(manifest, separators=(",", ":")), encoding="utf-8")
    scratch.rename(order.folder / MANIFEST)
    meter.line()
    return digest


def _bring(hub: Hub, order: FetchOrder, commit: str, file: HubFile, meter: Meter) -> None:
    target, partial = order.folder / file.path, order.folder / f"{file.path}.tmp"
    partial.parent.mkdir(parents=True, exist_ok=True)
    hashes = file.hashes()
    with partial.open("ab+") as out:
        if out.tell() > file.size:
            out.truncate(0)
        out.seek(0)
        while chunk := out.read(_CHUNK):
            hashes.update(chunk)
            meter.add(len(chunk))
        begun = out.tell()
        for chunk in hub.read(order.repository, commit, file, begun):
            out.write(chunk)
            hashes.update(chunk)
            meter.add(len(chunk))
        length = out.tell()
    if length != file.size or not hashes.right():
        partial.unlink()
        meter.add(-length)
        raise HubError(
            "Corrupt",
            f"{file.path} arrived with {length} of {file.size} bytes or another hash than the hub"
            " says",
        )
    # so that nobody has to read the file again for the manifest
    sidecar = order.folder / f"{file.path}.sha256.tmp"
    sidecar.write_text(hashes.sha256.hexdigest(), encoding="utf-8")
    partial.rename(target)


def _has(folder: Path, file: HubFile) -> bool:
    try:
        return (folder / file.path).stat().st_size == file.size
    except OSError:
        return False


def _sha256(folder: Path, file: HubFile) -> str:
    if file.sha256:
        return file.sha256
    try:
        return (folder / f"{file.path}.sha256.tmp").read_text(encoding="utf-8")
    except OSError:
        with (folder / file.path).open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()


class Meter:
    """Counts bytes and appends a line of JSON every few seconds: `{"done", "total"}`, or `{"error":
    {"reason", "message"}}`.

    Appended, because a reader over SMB may see half of a file that is overwritten, and can skip
    half of a last line.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done = self._total = 0

    def begin(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        self._path.write_text("", encoding="utf-8")
        self.line()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count

    def line(self) -> None:
        self._append({"done": self._done, "total": self._total})

    def end(self, reason: str, message: str) -> None:
        print(f"{reason}: {message}", file=sys.stderr, flush=True)
        self._append({"error": {"reason": reason, "message": message}})

    def __enter__(self) -> None:
        """Lines from here on."""
        threading.Thread(target=self._beat, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _beat(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(BEAT):
            self.line()
            rate = self._done / 1e6 / (time.monotonic() - began)
            print(
                f"{self._done / 1e6:.0f} of {self._total / 1e6:.0f} MB, {rate:.0f} MB/s", flush=True
            )

    def _append(self, line: Mapping[str, object]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
        except OSError as error:
            print(f"the progress cannot be written: {error.strerror}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
