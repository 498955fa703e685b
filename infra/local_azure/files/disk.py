"""Files of a share on disk: opening them, and their bytes by ranges. Big bodies go through threads,
never the loop.
"""

import asyncio
import base64
import ctypes
import hashlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

from . import names
from .errors import FilesError, bad_header, missing, wrong_type
from .request import FilesRequest

MAX_RANGE = 4 * 1024 * 1024
INLINE = 128 * 1024
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE, which keeps the size
_libc = ctypes.CDLL(None, use_errno=True)
WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


def open_file(path: Path, flags: int) -> int:
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


def open_new(path: Path) -> int:
    """Open for writing, made when missing; its directory must be there."""
    try:
        return os.open(path, WRITE | os.O_CREAT, 0o644)
    except (FileNotFoundError, NotADirectoryError):
        raise missing("parent") from None
    except OSError:  # a directory, or a link that we do not follow
        raise wrong_type() from None


def state_of(path: Path, kind: str = "file") -> os.stat_result:
    """The `stat` of a file or a directory. Raises FilesError if the path is of another kind."""
    found = names.kind(path)
    if found == kind:
        return os.lstat(path)
    raise (
        wrong_type()
        if found
        else missing()
        if names.kind(path.parent) == "directory"
        else missing("parent")
    )


async def write(descriptor: int, data: bytes, offset: int) -> None:
    if len(data) <= INLINE:
        os.pwrite(descriptor, data, offset)
        return
    await asyncio.to_thread(_write_all, descriptor, data, offset)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def clear(descriptor: int, start: int, length: int) -> None:
    """Give the range back to the disk, so that it no longer counts as data; zeros where the file
    system cannot.
    """
    if _libc.fallocate(descriptor, _PUNCH_HOLE, ctypes.c_int64(start), ctypes.c_int64(length)) == 0:
        return
    block = bytes(min(length, MAX_RANGE))
    while length:
        count = os.pwrite(descriptor, block[:length], start)
        start, length = start + count, length - count


async def stream(descriptor: int, start: int, length: int) -> AsyncIterator[bytes]:
    try:
        while length:
            data = await asyncio.to_thread(os.pread, descriptor, min(length, 512 * 1024), start)
            if not data:
                return
            start, length = start + len(data), length - len(data)
            yield data
    finally:
        os.close(descriptor)


async def md5_of(descriptor: int, start: int, length: int) -> str:
    if length > MAX_RANGE:
        raise bad_header("x-ms-range-get-content-md5")
    data = await asyncio.to_thread(os.pread, descriptor, length, start)
    return _md5(data)


async def digest(data: bytes) -> str:
    return _md5(data) if len(data) <= INLINE else await asyncio.to_thread(_md5, data)


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def byte_range(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", text)
    if not match:
        raise bad_header("x-ms-range")
    start, end = int(match[1]), int(match[2]) if match[2] else None
    if end is not None and end < start:
        raise bad_header("x-ms-range")
    return start, end


def wanted(request: FilesRequest, size: int) -> tuple[int, int | None]:
    """The range to read: end None means all of it (no range was asked for)."""
    text = request.headers.get("x-ms-range") or request.headers.get("Range")
    if not text:
        return 0, None
    start, end = byte_range(text)
    if start >= size:
        text = "The range specified is invalid for the current size of the resource."
        raise FilesError(416, "InvalidRange", text, {"Content-Range": f"bytes */{size}"})
    return start, size - 1 if end is None else min(end, size - 1)


def data_ranges(descriptor: int, start: int, end: int) -> list[tuple[int, int]]:
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
