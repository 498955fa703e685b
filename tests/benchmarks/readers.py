"""Weights on a share whose streams are slow, read by 1, 4 and 16 readers as a replica's start reads
them. The share is mounted as the local Azure mounts it for a replica, with the rate of each stream
limited as by its fault ShareSlow.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.benchmarks.report import Figure, Section, median
from tests.local_azure.smb_mount import FUSE, SmbMount

_FILES, _MIB, _RATE, _ROUNDS = 2, 128, 60e6, 3
_READERS = (1, 4, 16)
_READ = """
import time
from serving.start.read_ahead import ReadAhead, weight_files
ahead = ReadAhead(weight_files(share), readers)
began = time.monotonic()
ahead.start()
ahead.join()
seconds = time.monotonic() - began
ahead.close()
result = [ahead.bytes, seconds]
"""


def measure() -> Section:
    title = "Weights read ahead from a share"
    if not FUSE:
        return Section(title, notes=["Not measured: /dev/fuse cannot be opened by this user."])
    total = _FILES * _MIB << 20
    found: dict[int, list[float]] = {readers: [] for readers in _READERS}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        for index in range(_FILES):
            block = os.urandom(1 << 20)
            with (source / f"model-{index}.safetensors").open("wb") as file:
                for _ in range(_MIB):
                    file.write(block)
        for turn in range(_ROUNDS):
            for readers in _READERS:
                # A mount of its own each time: nothing is in the page cache.
                options = f"actimeo=1,streamrate={_RATE}"
                mount = SmbMount(source, Path(folder) / f"mount-{turn}-{readers}", options)
                try:
                    count, seconds = mount(_READ, readers=readers)
                finally:
                    mount.close()
                assert count == total
                found[readers].append(seconds)
    once = median(found[1])
    rows = [
        (readers, median(times), total / 1e6 / median(times), once / median(times))
        for readers, times in found.items()
    ]
    figures = [
        Figure("weights, 4 readers against 1", once / median(found[4]), "times", 3, "at least")
    ]
    notes = [
        f"{_FILES} files of {_MIB} MiB; a stream is limited to {_RATE / 1e6:.0f} MB/s; rounds take"
        " turns, each on a fresh mount. The server behind the mount has one thread, which bounds"
        " all readers together."
    ]
    return Section(title, figures, ("readers", "seconds", "MB/s", "times as fast"), rows, notes)
