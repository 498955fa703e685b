"""Opens files that are files. A FIFO, a socket or a device is refused at once, where `open` would
wait for a writer that never comes. Used wherever a path comes from a person or from a share.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path

# O_NONBLOCK: opening a FIFO returns at once; it changes nothing for regular files. Windows has no
# such flag, and needs O_BINARY so that bytes stay as they are.
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)
NEITHER = "is neither a file nor a folder"


def open_regular(path: Path) -> FileIO:
    """The file opened for reading, unbuffered.

    Raises:
        OSError: it cannot be opened, or is no regular file; `strerror` says which.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, or a device without a driver
            raise OSError(errno.EINVAL, NEITHER, str(path)) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else NEITHER
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, what, str(path))
    return FileIO(descriptor, "rb")


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """At most `limit` bytes of the file, else all of it. Raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read() if limit is None else _read(file, limit)


def _read(file: FileIO, limit: int) -> bytes:
    data = b""
    while len(data) < limit and (piece := file.read(limit - len(data))):
        data += piece
    return data
