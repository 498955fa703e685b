"""A container's console log in the CRI format that kubelet reads: `<RFC 3339 time> stdout|stderr
F|P <text>`. Used by `shim`.
"""

import time
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024
_LONGEST_LINE = 16 * 1024


class Console:
    """Appends lines to `path`; past `max_bytes` the file becomes `<path>.1` and a new
    one starts.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size
        self._pending: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def feed(self, stream: str, data: bytes) -> None:
        """Takes raw output; whole lines are written at once, a line longer than 16 KiB in parts
        (tag P).
        """
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        stamp = _stamp()
        out = [b"%s %s F %s\n" % (stamp, stream.encode(), line) for line in lines]
        while len(rest) > _LONGEST_LINE:
            out.append(b"%s %s P %s\n" % (stamp, stream.encode(), rest[:_LONGEST_LINE]))
            rest = rest[_LONGEST_LINE:]
        self._pending[stream] = rest
        self._write(b"".join(out))

    def flush(self) -> None:
        """Writes unfinished lines, for a container that has ended."""
        for stream, rest in self._pending.items():
            if rest:
                self.feed(stream, b"\n")

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # a full disk must not stop the container
            if data and self._size + len(data) > self._max_bytes:
                self._file.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file = self._path.open("ab", buffering=0)
                self._size = 0
            self._file.write(data)
            self._size += len(data)


def _stamp() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z".encode()
