"""A file's or directory's properties as headers: ETag, times, SMB attributes, metadata.

The ETag comes from the inode's own state, so it changes with the content, also when that is changed
on disk directly.
"""

import base64
import hashlib
import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from infra.local_azure import clock

from .errors import bad_header
from .property_store import Extras
from .request import FilesRequest

PERMISSION = "4010187179898695473*11459378189709739967"
CONTENT_HEADERS = {
    "x-ms-content-type": "Content-Type",
    "x-ms-content-encoding": "Content-Encoding",
    "x-ms-content-language": "Content-Language",
    "x-ms-cache-control": "Cache-Control",
    "x-ms-content-disposition": "Content-Disposition",
    "x-ms-content-md5": "Content-MD5",
}


def etag(state: os.stat_result, extras: Extras) -> str:
    seen = (
        f"{state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
        f" {extras.get('version', 0)}"
    )
    return f'"0x{hashlib.blake2b(seen.encode(), digest_size=8).hexdigest()[:15].upper()}"'


def written(state: os.stat_result, extras: Extras) -> dict[str, str]:
    """The headers of the answer to every write."""
    return {
        "ETag": etag(state, extras),
        "Last-Modified": clock.http(state.st_mtime),
        "x-ms-request-server-encrypted": "true",
        **smb(state, extras),
    }


def smb(state: os.stat_result, extras: Extras) -> dict[str, str]:
    is_directory = state.st_mode & 0o170000 == 0o040000
    changed = clock.smb(state.st_ctime_ns)
    modified = clock.smb(state.st_mtime_ns)
    return {
        "x-ms-file-attributes": (
            extras.get("attributes") or ("Directory" if is_directory else "Archive")
        ),
        "x-ms-file-creation-time": extras.get("created") or min(changed, modified),
        "x-ms-file-last-write-time": modified,
        "x-ms-file-change-time": changed,
        "x-ms-file-permission-key": extras.get("permission") or PERMISSION,
        "x-ms-file-id": str(state.st_ino),
        "x-ms-file-parent-id": "0",
    }


def full(state: os.stat_result, extras: Extras) -> dict[str, str]:
    """The headers of a GET or HEAD of a file, without its length."""
    headers: dict[str, Any] = extras.get("headers", {})
    return {
        "ETag": etag(state, extras),
        "Last-Modified": clock.http(state.st_mtime),
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "x-ms-type": "File",
        "x-ms-server-encrypted": "true",
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        **headers,
        **{f"x-ms-meta-{name}": value for name, value in extras.get("metadata", {}).items()},
        **extras.get("copy", {}),
        **smb(state, extras),
    }


def sent(request: FilesRequest, *, new: bool = False) -> Extras:
    """What a create (`new`) or a set-properties request says beyond the defaults."""
    headers = {
        shown: request.headers[name]
        for name, shown in CONTENT_HEADERS.items()
        if request.headers.get(name)
    }
    headers = {
        name: value
        for name, value in headers.items()
        if (name, value) != ("Content-Type", "application/octet-stream")
    }
    if "Content-MD5" in headers:
        _md5(headers["Content-MD5"])
    extras: Extras = {"headers": headers} if headers else {}
    attributes = request.headers.get("x-ms-file-attributes", "")
    if attributes.lower() not in {"", "none", "preserve", "archive", "directory"}:
        extras["attributes"] = attributes
    created = request.headers.get("x-ms-file-creation-time") or ("now" if new else "preserve")
    if created.lower() == "now" or (new and created.lower() == "preserve"):
        extras["created"] = clock.smb(time.time_ns())
    elif created.lower() != "preserve":
        _nanoseconds(created, "x-ms-file-creation-time")
        extras["created"] = created
    permission = request.headers.get("x-ms-file-permission-key", "")
    if permission not in {"", PERMISSION}:
        extras["permission"] = permission
    return extras


def stamp(
    descriptor: int, request: Mapping[str, str], before: os.stat_result | None = None
) -> None:
    """Give a written file the time the request asks for; by default now, to the nanosecond, so that
    every write shows.
    """
    wanted = request.get("x-ms-file-last-write-time", "now")
    if wanted.lower() == "preserve" and before is not None:
        instant = before.st_mtime_ns
    elif wanted.lower() in {"now", "preserve", ""}:
        instant = time.time_ns()
    else:
        instant = _nanoseconds(wanted, "x-ms-file-last-write-time")
    os.utime(descriptor, ns=(instant, instant))


def _nanoseconds(text: str, header: str) -> int:
    try:
        head, _, tail = text.rstrip("Z").partition(".")
        seconds = int(datetime.fromisoformat(head + "+00:00").timestamp())
        return seconds * 1_000_000_000 + int((tail or "0").ljust(9, "0")[:9])
    except ValueError:
        raise bad_header(header) from None


def _md5(text: str) -> None:
    try:
        valid = len(base64.b64decode(text, validate=True)) == 16
    except ValueError:
        valid = False
    if not valid:
        raise bad_header("x-ms-content-md5")
