"""Which names an SMB file share can hold and tell apart.

https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-shares--directories--files--and-metadata
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f"\\/:|<>*?]')
DEVICES = frozenset(
    {
        "con",
        "prn",
        "aux",
        "nul",
        "clock$",
        *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
    }
)
_NAME_LIMIT = 255
_PATH_LIMIT = 1700  # the service takes 2048 with what Moorage puts before it
_DEPTH_LIMIT = 240


def name_fault(name: str, relative: str) -> str | None:
    """What keeps a share from holding `name` at the path `relative`; None when it can."""
    if found := _FORBIDDEN.search(name):
        return f"holds {found.group()!r}, which a file share's names cannot"
    if name[-1] in " .":
        return f"ends with {name[-1]!r}, which a file share drops"
    device = name.partition(".")[0].lower()
    if device in DEVICES:
        return f"is named like the device {device.upper()}, which a file share refuses"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "has a name that is not valid Unicode"
    if len(name) > _NAME_LIMIT:
        return f"has a name of {len(name)} characters; a file share takes {_NAME_LIMIT}"
    if len(relative) > _PATH_LIMIT or relative.count("/") > _DEPTH_LIMIT:
        return "lies too deep for a file share"
    return None


def collision_key(path: str) -> str:
    """Equal for paths that a share, which ignores case, takes for one."""
    return unicodedata.normalize("NFC", path).casefold()


def ancestors(relative: str) -> Iterator[str]:
    """The folders above a relative posix path, outermost first."""
    parts = relative.split("/")[:-1]
    return ("/".join(parts[: i + 1]) for i in range(len(parts)))
