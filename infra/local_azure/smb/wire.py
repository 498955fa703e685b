"""The kernel's side of FUSE (linux/fuse.h, protocol 7.31): requests taken apart, answers put
together. Used by `server`.
"""

import os
import stat
import struct
from dataclasses import dataclass

LOOKUP, FORGET, GETATTR, SETATTR, SYMLINK, MKNOD = 1, 2, 3, 4, 6, 8
MKDIR, UNLINK, RMDIR, RENAME, LINK = 9, 10, 11, 12, 13
OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = (
    14,
    15,
    16,
    17,
    18,
    20,
    25,
    26,
    27,
    28,
    29,
)
FSYNCDIR, CREATE, INTERRUPT, DESTROY, BATCH_FORGET, RENAME2 = 30, 35, 36, 38, 42, 45
SILENT = frozenset({FORGET, BATCH_FORGET, INTERRUPT})  # the kernel waits for no answer

MAX_WRITE = 1024 * 1024
_MINOR = 31
# async reads, truncate on open, big writes, look at the time before trusting cached pages, long
# requests
_WANTED = 1 | 1 << 3 | 1 << 5 | 1 << 12 | 1 << 22
_HEADER, _ANSWER = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
_ATTR = struct.Struct("<6Q10I")
_INVALIDATE = 2

FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH = 8, 16, 32, 64


@dataclass(frozen=True)
class FuseRequest:
    """One request: `body` is what follows the header."""

    opcode: int
    unique: int
    node: int
    body: bytes


@dataclass(frozen=True)
class Shown:
    """How every file and directory looks, whatever it is on the disk: the mount's uid, gid,
    file_mode and dir_mode.
    """

    uid: int = 0
    gid: int = 0
    file_mode: int = 0o755
    dir_mode: int = 0o755


def parse(packet: bytes) -> FuseRequest:
    _, opcode, unique, node, *_ = _HEADER.unpack_from(packet)
    return FuseRequest(opcode, unique, node, packet[_HEADER.size :])


def answer(unique: int, body: bytes = b"", error: int = 0) -> bytes:
    return _ANSWER.pack(_ANSWER.size + len(body), -error, unique) + body


def forget_attributes(node: int) -> bytes:
    """A notice to the kernel: what it remembers of a node's attributes is old, its pages
    may stay.
    """
    return _ANSWER.pack(_ANSWER.size + 24, _INVALIDATE, 0) + struct.pack("<Qqq", node, -1, 0)


def init(body: bytes) -> bytes:
    _, minor, readahead, flags = struct.unpack_from("<4I", body)
    return struct.pack(
        "<4IHHIIHHI7I",
        7,
        min(minor, _MINOR),
        readahead,
        flags & _WANTED,
        16,
        12,
        MAX_WRITE,
        100,
        MAX_WRITE // 4096,
        0,
        0,
        *[0] * 7,
    )


def attributes(state: os.stat_result, shown: Shown) -> bytes:
    directory = stat.S_ISDIR(state.st_mode)
    mode = stat.S_IFDIR | shown.dir_mode if directory else stat.S_IFREG | shown.file_mode
    times = (state.st_atime_ns, state.st_mtime_ns, state.st_ctime_ns)
    seconds, rest = [time // 10**9 for time in times], [time % 10**9 for time in times]
    links = 2 if directory else 1
    blocks = -(-state.st_size // 512)
    return _ATTR.pack(
        state.st_ino,
        state.st_size,
        blocks,
        *seconds,
        *rest,
        mode,
        links,
        shown.uid,
        shown.gid,
        0,
        4096,
        0,
    )


def entry(node: int, valid_s: float, attr: bytes) -> bytes:
    """A name's node and attributes; node 0 says for how long nothing is there."""
    seconds, rest = _valid(valid_s)
    return struct.pack("<4Q2I", node, 0, seconds, seconds, rest, rest) + (attr or bytes(_ATTR.size))


def attribute_answer(valid_s: float, attr: bytes) -> bytes:
    seconds, rest = _valid(valid_s)
    return struct.pack("<Q2I", seconds, rest, 0) + attr


def opened(handle: int) -> bytes:
    return struct.pack("<QII", handle, 0, 0)


def statfs(state: os.statvfs_result) -> bytes:
    blocks = (state.f_blocks, state.f_bfree, state.f_bavail, state.f_files, state.f_ffree)
    return struct.pack("<5Q10I", *blocks, state.f_bsize, 255, state.f_frsize, *[0] * 7)


def directory_entry(inode: int, offset: int, name: str, *, directory: bool) -> bytes:
    raw = os.fsencode(name)
    kind = stat.S_IFDIR >> 12 if directory else stat.S_IFREG >> 12
    return struct.pack("<QQII", inode, offset, len(raw), kind) + raw + bytes(-len(raw) % 8)


def names(body: bytes, skip: int = 0) -> list[str]:
    """The zero-terminated names after `skip` bytes."""
    return [os.fsdecode(name) for name in body[skip:].split(b"\0")[:-1]]


def _valid(seconds: float) -> tuple[int, int]:
    whole = int(seconds)
    return whole, int((seconds - whole) * 1e9)
