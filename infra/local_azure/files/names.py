"""What a file may be called on SMB, and where it lies on this machine. No name leads out of its
share.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from .errors import FilesError, missing

_FORBIDDEN = re.compile(r'["\\/:|<>*?\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|clock\$|com[1-9]|lpt[1-9])", re.IGNORECASE)


def split(path: str, *, keep_dot: bool) -> tuple[str, ...]:
    """The decoded segments of a percent-encoded path below the share; trailing dots go unless the
    client keeps them.

    Decoded first: the SDK sends a directory's slashes as %2F, and Azure takes them for slashes.
    """
    segments = []
    for segment in unquote(path).split("/"):
        if not segment:
            continue
        kept = segment if keep_dot or not segment.strip(".") else segment.rstrip(".")
        segments.append(_checked(kept))
    if len(segments) > 250 or sum(len(segment) + 1 for segment in segments) > 2048:
        raise FilesError(
            400,
            "InvalidInput",
            "One of the request inputs is out of range: the path is too long or too deep.",
        )
    return tuple(segments)


def _checked(segment: str) -> str:
    if (
        not segment.strip(".")
        or _FORBIDDEN.search(segment)
        or _DEVICES.fullmatch(segment)
        or "�" in segment
    ):
        raise FilesError(
            400, "InvalidResourceName", "The specifed resource name contains invalid characters."
        )
    if len(segment) > 255 or len(segment.encode()) > 255:
        raise FilesError(
            400,
            "OutOfRangeInput",
            "The specified resource name length is not within the permissible limits.",
        )
    return segment


def locate(share: Path, segments: tuple[str, ...]) -> Path:
    """The place of a file or directory, in the case it was made in; a symbolic link on the way is
    treated as not being there.
    """
    path = share
    for depth, segment in enumerate(segments, 1):
        path = _spelled(path, segment)
        if depth < len(segments) and path.is_symlink():
            raise missing("parent")
    return path


def _spelled(folder: Path, name: str) -> Path:
    """An entry of that name, else one that differs in case alone, else where it would be made."""
    exact = folder / name
    if os.path.lexists(exact):
        return exact
    wanted = name.casefold()
    try:
        with os.scandir(folder) as entries:
            return next(
                (folder / entry.name for entry in entries if entry.name.casefold() == wanted), exact
            )
    except (FileNotFoundError, NotADirectoryError):
        return exact


def kind(path: Path) -> str:
    """`file`, `directory` or empty: the kind of what the path names. Links are not followed."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return {0o040000: "directory", 0o100000: "file"}.get(mode & 0o170000, "")
