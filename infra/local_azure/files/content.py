"""Files: create, write and clear ranges, read, delete, rename, lease, ranges. Content that comes
from other files is in `copies`.
"""

import asyncio
import fcntl
import os
from pathlib import Path
from urllib.parse import SplitResult

from . import disk, leases, names, properties
from .answer import FilesAnswer
from .errors import FilesError, bad_header, exists, missing, not_there, wrong_type
from .property_store import Extras
from .request import FilesRequest

MAX_FILE = 4 * 1024**4


async def create(request: FilesRequest) -> FilesAnswer:
    """Make or empty a file of the given length; newer versions may send up to 4 MiB of content with
    it.
    """
    if request.headers.get("x-ms-type", "").lower() != "file":
        raise FilesError(
            400,
            "MissingRequiredHeader",
            "An HTTP header that's mandatory for this request is not specified: x-ms-type.",
        )
    length, body = request.number("x-ms-content-length"), request.number("Content-Length", 0)
    if not 0 <= length <= MAX_FILE or body not in {0, length} or body > disk.MAX_RANGE:
        raise bad_header("x-ms-content-length")
    path, key = request.place()
    data = await _verified(request, body)
    # After the body was read and verified: a torn upload must change nothing.
    request.may_write(path)
    await request.reserve(path, length)
    descriptor = disk.open_new(path)
    try:
        os.ftruncate(descriptor, 0)
        if data:
            await disk.write(descriptor, data, 0)
        elif length:
            os.ftruncate(descriptor, length)
        properties.stamp(descriptor, request.headers)
        state = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    extras = properties.sent(request, new=True)
    if metadata := request.metadata():
        extras["metadata"] = metadata
    request.extras.put(key, state.st_ino, extras)
    return FilesAnswer(201, properties.written(state, extras))


async def put_range(request: FilesRequest) -> FilesAnswer:
    """Write or clear a range that lies inside the file."""
    start, end = disk.byte_range(
        request.headers.get("x-ms-range") or request.headers.get("Range", "")
    )
    mode = request.headers.get("x-ms-write", "").lower()
    length = request.number("Content-Length", 0)
    if mode not in {"update", "clear"}:
        raise bad_header("x-ms-write")
    if length > disk.MAX_RANGE:
        raise FilesError(
            413,
            "RequestBodyTooLarge",
            "The request body is too large and exceeds the maximum permissible limit.",
        )
    if end is None or length != (end - start + 1 if mode == "update" else 0):
        raise FilesError(
            400,
            "InvalidHeaderValue",
            "The range and the Content-Length of the request do not agree.",
        )
    data = await _verified(request, length)
    return await write_range(request, (start, end), data if mode == "update" else None)


async def write_range(
    request: FilesRequest, span: tuple[int, int], data: bytes | None
) -> FilesAnswer:
    """Put `data` into the range, or clear it; `copies` brings data from elsewhere."""
    (start, end), (path, key) = span, request.place()
    request.may_write(path)
    descriptor = disk.open_file(path, disk.WRITE)
    try:
        before = os.fstat(descriptor)
        if end >= before.st_size:
            raise FilesError(
                416,
                "InvalidRange",
                "The range specified is invalid for the current size of the resource.",
            )
        if data is not None:
            await disk.write(descriptor, data, start)
        else:
            await asyncio.to_thread(disk.clear, descriptor, start, end - start + 1)
        properties.stamp(descriptor, request.headers, before)
        state = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    headers = properties.written(state, request.extras.get(key, state.st_ino))
    return FilesAnswer(
        201, {**headers, "Content-MD5": await disk.digest(data)} if data else headers
    )


async def read(request: FilesRequest) -> FilesAnswer:
    """The whole file or one range of it."""
    path, key = request.place()
    descriptor = disk.open_file(path, disk.READ)
    try:
        state = os.fstat(descriptor)
        extras = request.extras.get(key, state.st_ino)
        headers = {**properties.full(state, extras), **_lease(request, path)}
        start, end = disk.wanted(request, state.st_size)
        ranged, length = (
            end is not None,
            (end if end is not None else state.st_size - 1) - start + 1,
        )
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{end}/{state.st_size}"
            if "Content-MD5" in headers:
                # The hash is the whole file's, and under its usual name a client would check the
                # range.
                headers["x-ms-content-md5"] = headers.pop("Content-MD5")
        if request.flag("x-ms-range-get-content-md5"):
            headers["Content-MD5"] = await disk.md5_of(descriptor, start, length)
    except BaseException:
        os.close(descriptor)
        raise
    status = 206 if ranged else 200
    if length <= disk.INLINE:
        data = os.pread(descriptor, length, start)
        os.close(descriptor)
        return FilesAnswer(status, headers, data, len(data))
    return FilesAnswer(status, headers, disk.stream(descriptor, start, length), length)


async def head(request: FilesRequest) -> FilesAnswer:
    path, key = request.place()
    state = disk.state_of(path)
    headers = {
        **properties.full(state, request.extras.get(key, state.st_ino)),
        **_lease(request, path),
    }
    return FilesAnswer(200, headers, b"", state.st_size)


async def delete(request: FilesRequest) -> FilesAnswer:
    path, key = request.place()
    disk.state_of(path)
    request.may_write(path)
    leases.forget(request.store, request.lease_key(path))
    path.unlink()
    request.extras.drop(key)
    return FilesAnswer(202)


async def set_metadata(request: FilesRequest) -> FilesAnswer:
    path, key = request.place()
    state = disk.state_of(path)
    request.may_write(path)
    extras = request.extras.get(key, state.st_ino)
    extras = {**extras, "metadata": request.metadata(), "version": extras.get("version", 0) + 1}
    request.extras.put(key, state.st_ino, extras)
    return FilesAnswer(200, properties.written(state, extras))


async def set_properties(request: FilesRequest) -> FilesAnswer:
    """Content headers are replaced; a new length cuts or extends the file."""
    path, key = request.place()
    length = (
        request.number("x-ms-content-length") if "x-ms-content-length" in request.headers else None
    )
    if length is not None and not 0 <= length <= MAX_FILE:
        raise bad_header("x-ms-content-length")
    descriptor = disk.open_file(path, disk.WRITE)
    try:
        before = os.fstat(descriptor)
        request.may_write(path)
        if length is not None:
            await request.reserve(path, length)
            os.ftruncate(descriptor, length)
        properties.stamp(descriptor, request.headers, before)
        state = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    old = request.extras.get(key, state.st_ino)
    # Headers that are left out are cleared, as in Azure; what is no header stays.
    kept: Extras = {
        name: old[name]
        for name in ("metadata", "attributes", "created", "permission")
        if name in old
    }
    extras = {**kept, **properties.sent(request), "version": old.get("version", 0) + 1}
    request.extras.put(key, state.st_ino, extras)
    return FilesAnswer(200, properties.written(state, extras))


async def rename(request: FilesRequest) -> FilesAnswer:
    """Move a file or directory within its share; an existing target is replaced only when the
    request says so.
    """
    source_parts = _own_path(request, request.url("x-ms-file-rename-source"))
    source = names.locate(request.root, source_parts)
    path, key = request.place()
    what = names.kind(source)
    if not what or not source_parts:
        raise missing()
    if (what == "directory") != (request.query.get("restype") == "directory"):
        raise wrong_type()
    if names.kind(path.parent) != "directory":
        raise missing("parent")
    there = names.kind(path)
    if there and there != what:
        raise wrong_type()
    same = bool(there) and path.samefile(source)  # another spelling of the same name
    if (
        there
        and not same
        and (what == "directory" or not request.flag("x-ms-file-rename-replace-if-exists"))
    ):
        raise exists()
    request.may_write(source, "x-ms-source-lease-id")
    if there and not same:
        request.may_write(path, "x-ms-destination-lease-id")
        _nobody_has_open(path)
    path = path.with_name(request.segments[-1])
    key = request.key(path)
    try:
        source.replace(path)
    except OSError as refused:
        raise FilesError(
            409, "SharingViolation", f"The rename is not possible: {refused.strerror}."
        ) from None
    leases.forget(request.store, request.lease_key(source))
    old = request.key(source)
    if old != key:
        request.extras.move(old, key)
    state = os.lstat(path)
    extras: Extras = request.extras.get(key, state.st_ino)
    if metadata := request.metadata():
        extras["metadata"] = metadata
        request.extras.put(key, state.st_ino, extras)
    return FilesAnswer(200, properties.written(state, extras))


async def lease(request: FilesRequest) -> FilesAnswer:
    """A lease of a file, which has no end."""
    path, key = request.place()
    state = disk.state_of(path)
    headers = properties.written(state, request.extras.get(key, state.st_ino))
    return leases.answer(
        request.store, request.lease_key(path), request.headers, headers, file=True
    )


async def ranges(request: FilesRequest) -> FilesAnswer:
    """Where the file has data, as the file system says."""
    if "prevsharesnapshot" in request.query:
        raise not_there("range differences between snapshots")
    path, key = request.place()
    descriptor = disk.open_file(path, disk.READ)
    try:
        state = os.fstat(descriptor)
        start, end = disk.wanted(request, state.st_size)
        found = disk.data_ranges(descriptor, start, state.st_size if end is None else end + 1)
    finally:
        os.close(descriptor)
    entries = "".join(
        f"<Range><Start>{low}</Start><End>{high}</End></Range>" for low, high in found
    )
    body = (
        f'<?xml version="1.0" encoding="utf-8"?><Ranges>{entries}<NextMarker /></Ranges>'.encode()
    )
    headers = properties.written(state, request.extras.get(key, state.st_ino))
    return FilesAnswer(
        200,
        {**headers, "Content-Type": "application/xml", "x-ms-content-length": str(state.st_size)},
        body,
    )


def _lease(request: FilesRequest, path: Path) -> dict[str, str]:
    """The lease headers of a file; a reader that names a lease must name the right one."""
    key = request.lease_key(path)
    if "x-ms-lease-id" in request.headers:
        leases.require(request.store, key, request.headers["x-ms-lease-id"])
    return leases.shown(request.store, key)


def _nobody_has_open(path: Path) -> None:
    """A mount that shows the share as SMB does holds a lock on every file that is open
    through it.
    """
    descriptor = disk.open_file(path, disk.READ)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = "The specified resource may be in use by an SMB client."
        raise FilesError(409, "SharingViolation", text) from None
    finally:
        os.close(descriptor)


async def _verified(request: FilesRequest, length: int) -> bytes:
    """The body, checked against Content-MD5 when the client sent one."""
    if request.headers.get("x-ms-structured-body"):
        raise not_there("structured message bodies (CRC64 validation)")
    data = await request.content(length)
    wanted = request.headers.get("Content-MD5")
    if not wanted or not length:
        return data
    if await disk.digest(data) != wanted:
        text = (
            "The MD5 value specified in the request did not match with the MD5 value calculated by"
            " the server."
        )
        raise FilesError(400, "Md5Mismatch", text)
    return data


def _own_path(request: FilesRequest, source: SplitResult) -> tuple[str, ...]:
    """The segments of a source URL, which must lie in the request's own share."""
    parts = source.path.strip("/").split("/", 2)
    if len(parts) < 3 or (parts[0].lower(), parts[1].lower()) != (
        request.account.name.lower(),
        request.share.lower(),
    ):
        raise not_there("a source outside the share of the target")
    keep = request.flag("x-ms-source-allow-trailing-dot")
    return names.split(parts[2], keep_dot=keep)
