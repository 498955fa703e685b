"""Files: create, write and clear ranges, read, delete, rename, copy, ranges. Big bodies go through threads, never the loop."""

import asyncio
import base64
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from infra.local_azure import clock

from . import names, properties
from .errors import FilesError, bad_header, exists, missing, not_there, wrong_type
from .request import Answer, Request
from .sidecar import Extras

MAX_RANGE = 4 * 1024 * 1024
MAX_FILE = 4 * 1024**4
INLINE = 128 * 1024
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


async def create(request: Request) -> Answer:
    """Make or empty a file of the given length; newer versions may bring up to 4 MiB of content along."""
    if request.headers.get("x-ms-type", "").lower() != "file":
        raise FilesError(
            400, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified: x-ms-type."
        )
    length, body = request.number("x-ms-content-length"), request.number("Content-Length", 0)
    if not 0 <= length <= MAX_FILE or body not in {0, length} or body > MAX_RANGE:
        raise bad_header("x-ms-content-length")
    path, key = request.place()
    data = await _verified(request, body)
    descriptor = _open_new(path)
    try:
        os.ftruncate(descriptor, 0)
        if data:
            await _write(descriptor, data, 0)
        elif length:
            os.ftruncate(descriptor, length)
        properties.stamp(descriptor, request.headers)
        state = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    extras = properties.sent(request)
    if metadata := request.metadata():
        extras["metadata"] = metadata
    request.sidecar.put(key, state.st_ino, extras)
    return Answer(201, properties.written(state, extras))


async def put_range(request: Request) -> Answer:
    """Write or clear a range that lies inside the file."""
    if request.headers.get("x-ms-copy-source"):
        raise not_there("Put Range From URL")
    start, end = _range(request.headers.get("x-ms-range") or request.headers.get("Range", ""))
    mode = request.headers.get("x-ms-write", "").lower()
    length = request.number("Content-Length", 0)
    if mode not in {"update", "clear"}:
        raise bad_header("x-ms-write")
    if end is None or (mode == "update" and (length != end - start + 1 or length > MAX_RANGE)) or (mode == "clear" and length):
        raise FilesError(400, "InvalidHeaderValue", "The range and the Content-Length of the request do not agree.")
    path, key = request.place()
    data = await _verified(request, length)
    descriptor = _open(path, _FLAGS)
    try:
        before = os.fstat(descriptor)
        if end >= before.st_size:
            raise FilesError(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
        if mode == "update":
            await _write(descriptor, data, start)
        else:
            await asyncio.to_thread(_clear, descriptor, start, end - start + 1)
        properties.stamp(descriptor, request.headers, before)
        state = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    headers = properties.written(state, request.sidecar.get(key, state.st_ino))
    return Answer(201, {**headers, "Content-MD5": await _digest(data)} if data else headers)


async def read(request: Request) -> Answer:
    """The whole file or one range of it."""
    path, key = request.place()
    descriptor = _open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        extras = request.sidecar.get(key, state.st_ino)
        headers = properties.full(state, extras)
        start, end = _wanted(request, state.st_size)
        ranged, length = end is not None, (end if end is not None else state.st_size - 1) - start + 1
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{end}/{state.st_size}"
            if "Content-MD5" in headers:
                headers["x-ms-content-md5"] = headers.pop("Content-MD5")
        if request.flag("x-ms-range-get-content-md5"):
            headers["Content-MD5"] = await _md5_of(descriptor, start, length)
    except BaseException:
        os.close(descriptor)
        raise
    status = 206 if ranged else 200
    if length <= INLINE:
        data = os.pread(descriptor, length, start)
        os.close(descriptor)
        return Answer(status, headers, data, len(data))
    return Answer(status, headers, _stream(descriptor, start, length), length)


async def head(request: Request) -> Answer:
    path, key = request.place()
    state = _state(path)
    return Answer(200, properties.full(state, request.sidecar.get(key, state.st_ino)), b"", state.st_size)


async def delete(request: Request) -> Answer:
    path, key = request.place()
    _state(path)
    path.unlink()
    request.sidecar.drop(key)
    return Answer(202)


async def set_metadata(request: Request) -> Answer:
    path, key = request.place()
    state = _state(path)
    extras = request.sidecar.get(key, state.st_ino)
    extras = {**extras, "metadata": request.metadata(), "version": extras.get("version", 0) + 1}
    request.sidecar.put(key, state.st_ino, extras)
    return Answer(200, properties.written(state, extras))


async def set_properties(request: Request) -> Answer:
    """Content headers are replaced; a new length cuts or extends the file."""
    path, key = request.place()
    descriptor = _open(path, _FLAGS)
    try:
        before = os.fstat(descriptor)
        if "x-ms-content-length" in request.headers:
            os.ftruncate(descriptor, request.number("x-ms-content-length"))
        properties.stamp(descriptor, request.headers, before)
        state = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    old = request.sidecar.get(key, state.st_ino)
    kept: Extras = {name: old[name] for name in ("metadata", "attributes", "created", "permission") if name in old}
    extras = {**kept, **properties.sent(request), "version": old.get("version", 0) + 1}
    request.sidecar.put(key, state.st_ino, extras)
    return Answer(200, properties.written(state, extras))


async def rename(request: Request) -> Answer:
    """Move a file or directory within its share; an existing target is replaced only when the request says so."""
    source_parts = _own_path(request, request.headers.get("x-ms-file-rename-source", ""))
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
    if there and (what == "directory" or not request.flag("x-ms-file-rename-replace-if-exists")):
        raise exists()
    try:
        os.replace(source, path)  # noqa: PTH105
    except OSError as refused:
        raise FilesError(409, "SharingViolation", f"The rename is not possible: {refused.strerror}.") from None
    old = request.key(source_parts)
    if old != key:
        request.sidecar.move(old, key)
    state = os.lstat(path)
    extras: Extras = request.sidecar.get(key, state.st_ino)
    if metadata := request.metadata():
        extras["metadata"] = metadata
        request.sidecar.put(key, state.st_ino, extras)
    return Answer(200, properties.written(state, extras))


async def copy(request: Request) -> Answer:
    """Copy a file of the same share; done when answered."""
    wanted = request.headers["x-ms-copy-source"]
    source = names.locate(request.root, _own_path(request, wanted))
    path, key = request.place()
    _state(source)
    os.close(_open_new(path))
    await asyncio.to_thread(shutil.copyfile, source, path)
    state = os.lstat(path)
    now, size = clock.http(clock.now()), state.st_size
    done = {"x-ms-copy-id": str(uuid.uuid4()), "x-ms-copy-status": "success"}
    shown = {
        **done,
        "x-ms-copy-source": wanted.split("?", 1)[0],
        "x-ms-copy-progress": f"{size}/{size}",
        "x-ms-copy-completion-time": now,
    }
    extras: Extras = {"copy": shown}
    if metadata := request.metadata():
        extras["metadata"] = metadata
    request.sidecar.put(key, state.st_ino, extras)
    return Answer(202, {**properties.written(state, extras), **done})


async def ranges(request: Request) -> Answer:
    """Where the file has data, as the file system says."""
    if "prevsharesnapshot" in request.query:
        raise not_there("range differences between snapshots")
    path, key = request.place()
    descriptor = _open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        start, end = _wanted(request, state.st_size)
        found = _data(descriptor, start, state.st_size if end is None else end + 1)
    finally:
        os.close(descriptor)
    entries = "".join(f"<Range><Start>{low}</Start><End>{high}</End></Range>" for low, high in found)
    body = f'<?xml version="1.0" encoding="utf-8"?><Ranges>{entries}<NextMarker /></Ranges>'.encode()
    headers = properties.written(state, request.sidecar.get(key, state.st_ino))
    return Answer(200, {**headers, "Content-Type": "application/xml", "x-ms-content-length": str(state.st_size)}, body)


def _open(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise (missing() if names.kind(path.parent) == "directory" else missing("parent")) from None
    except IsADirectoryError:
        raise wrong_type() from None
    except OSError:
        raise missing() from None
    if os.fstat(descriptor).st_mode & 0o170000 != 0o100000:
        os.close(descriptor)
        raise wrong_type()
    return descriptor


def _open_new(path: Path) -> int:
    """Open for writing, made when missing; its directory must be there."""
    try:
        return os.open(path, _FLAGS | os.O_CREAT, 0o644)
    except (FileNotFoundError, NotADirectoryError):
        raise missing("parent") from None
    except OSError:  # a directory, or a link that we do not follow
        raise wrong_type() from None


def _state(path: Path) -> os.stat_result:
    kind = names.kind(path)
    if kind == "file":
        return os.lstat(path)
    raise wrong_type() if kind else missing() if names.kind(path.parent) == "directory" else missing("parent")


async def _verified(request: Request, length: int) -> bytes:
    """The body, checked against Content-MD5 when the client sent one."""
    if request.headers.get("x-ms-structured-body"):
        raise not_there("structured message bodies (CRC64 validation)")
    data = await request.content(length)
    wanted = request.headers.get("Content-MD5")
    if not wanted or not length:
        return data
    if await _digest(data) != wanted:
        text = "The MD5 value specified in the request did not match with the MD5 value calculated by the server."
        raise FilesError(400, "Md5Mismatch", text)
    return data


async def _write(descriptor: int, data: bytes, offset: int) -> None:
    if len(data) <= INLINE:
        os.pwrite(descriptor, data, offset)
        return
    await asyncio.to_thread(_write_all, descriptor, data, offset)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _clear(descriptor: int, start: int, length: int) -> None:
    block = bytes(min(length, MAX_RANGE))
    while length:
        count = os.pwrite(descriptor, block[:length], start)
        start, length = start + count, length - count


async def _stream(descriptor: int, start: int, length: int) -> AsyncIterator[bytes]:
    try:
        while length:
            data = await asyncio.to_thread(os.pread, descriptor, min(length, 512 * 1024), start)
            if not data:
                return
            start, length = start + len(data), length - len(data)
            yield data
    finally:
        os.close(descriptor)


async def _md5_of(descriptor: int, start: int, length: int) -> str:
    if length > MAX_RANGE:
        raise bad_header("x-ms-range-get-content-md5")
    data = await asyncio.to_thread(os.pread, descriptor, length, start)
    return _md5(data)


async def _digest(data: bytes) -> str:
    return _md5(data) if len(data) <= INLINE else await asyncio.to_thread(_md5, data)


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _range(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", text)
    if not match:
        raise bad_header("x-ms-range")
    start, end = int(match[1]), int(match[2]) if match[2] else None
    if end is not None and end < start:
        raise bad_header("x-ms-range")
    return start, end


def _wanted(request: Request, size: int) -> tuple[int, int | None]:
    """The range to read: end None means all of it (no range was asked for)."""
    text = request.headers.get("x-ms-range") or request.headers.get("Range")
    if not text:
        return 0, None
    start, end = _range(text)
    if start >= size:
        text = "The range specified is invalid for the current size of the resource."
        raise FilesError(416, "InvalidRange", text, {"Content-Range": f"bytes */{size}"})
    return start, size - 1 if end is None else min(end, size - 1)


def _own_path(request: Request, url: str) -> tuple[str, ...]:
    """The segments of a source URL, which must lie in the request's own share."""
    parts = urlsplit(url).path.strip("/").split("/", 2)
    if len(parts) < 3 or (parts[0].lower(), parts[1].lower()) != (request.account.name.lower(), request.share.lower()):
        raise not_there("a source outside the share of the target")
    keep = request.flag("x-ms-source-allow-trailing-dot")
    return names.split(parts[2], keep_dot=keep)


def _data(descriptor: int, start: int, end: int) -> list[tuple[int, int]]:
    found = []
    while start < end:
        try:
            low = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError:
            break
        if low >= end:
            break
        high = min(os.lseek(descriptor, low, os.SEEK_HOLE), end)
        found.append((low, high - 1))
        start = high
    return found
