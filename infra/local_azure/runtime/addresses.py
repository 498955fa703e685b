"""Short names for unix sockets: their address holds 108 bytes, a state directory may be deeper."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """An address of the socket `path` for bind and connect, through a descriptor of its directory.
    Raises OSError.
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
