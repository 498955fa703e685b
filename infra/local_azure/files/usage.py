"""How full the shares are: a first count plus what was written since. A share that seems full is
counted again.
"""

import asyncio
import os
from pathlib import Path

from .errors import FilesError

GIB = 1024**3


class Usage:
    """The estimate may be too high, because deleted files stay counted. It counts again before it
    refuses.
    """

    def __init__(self) -> None:
        self._known: dict[Path, int] = {}

    async def reserve(self, root: Path, quota_gib: int, growth: int) -> None:
        """Room for `growth` more bytes in the share, or ShareSizeLimitReached."""
        if growth <= 0:
            return
        limit = quota_gib * GIB
        if root not in self._known or self._known[root] + growth > limit:
            self._known[root] = await asyncio.to_thread(measure, root)
        if self._known[root] + growth > limit:
            raise FilesError(403, "ShareSizeLimitReached", "The share has reached its size limit.")
        self._known[root] += growth


def measure(root: Path) -> int:
    """The bytes of all files, holes included, as Azure counts them."""
    found = ((folder, name) for folder, _, names in os.walk(root) for name in names)
    total = 0
    for folder, name in found:
        try:
            total += os.lstat(f"{folder}/{name}").st_size
        except FileNotFoundError:
            continue
    return total
