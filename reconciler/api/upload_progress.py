"""How far an upload has come: in the words of a message, and read out of them again.
`kinds.published_folder` says it, and a terminal draws a bar by it.
"""

from __future__ import annotations

import re

UNITS = ("B", "KiB", "MiB", "GiB")
_SIZE = rf"(\d+(?:\.\d+)?) ({'|'.join(UNITS)})"
_UPLOADED = re.compile(rf"{_SIZE} of {_SIZE} uploaded")


def size_text(count: float) -> str:
    """Bytes for a person, in the largest unit of which there is at least one."""
    for unit in UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} {UNITS[-1]}"


def uploaded_text(done: int, total: int) -> str:
    return f"{size_text(done)} of {size_text(total)} uploaded"


def uploaded_share(message: str) -> float | None:
    """The part that has been uploaded, 0 to 1; None of a message about anything else."""
    found = _UPLOADED.search(message)
    if found is None:
        return None
    done, total = _bytes(found[1], found[2]), _bytes(found[3], found[4])
    return min(1.0, done / total) if total else None


def _bytes(number: str, unit: str) -> float:
    return float(number) * float(1024 ** UNITS.index(unit))
