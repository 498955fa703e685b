"""Serves one mount: `python -m infra.local_azure.smb.server FD SOURCE OPTIONS`, with /dev/fuse open
as FD.

Ends when the mount does, which is when the last process of the replica has gone. `options` are
those of the volume.
"""

import errno
import os
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from . import wire
from .pace import StreamPace
from .view import View
from .wire import FuseRequest, Shown

# Bytes a second that one open file is read with. No option of SMB: the local Azure adds it.
STREAM_RATE = "streamrate"
DEFAULT_ACTIMEO = 30.0  # what Azure's own driver mounts with


class FuseServer:
    """One thread that reads a request and answers it. A request that it does not know is answered
    with ENOSYS, and the kernel does not send it again.
    """

    def __init__(self, descriptor: int, view: View, shown: Shown, stream_rate: float = 0) -> None:
        self._descriptor = descriptor
        self._pace = StreamPace(stream_rate, self._send) if stream_rate else None
        self._view = view
        self._shown = shown
        self._handlers: Mapping[int, Callable[[FuseRequest], bytes]] = {
            wire.INIT: lambda call: wire.init(call.body),
            wire.LOOKUP: self._lookup,
            wire.FORGET: self._forget,
            wire.BATCH_FORGET: self._forget_many,
            wire.GETATTR: self._getattr,
            wire.SETATTR: self._setattr,
            wire.MKDIR: lambda call: self._entry(
                *view.make_directory(call.node, wire.names(call.body, 8)[0])
            ),
            wire.MKNOD: self._mknod,
            wire.UNLINK: lambda call: self._remove(call, directory=False),
            wire.RMDIR: lambda call: self._remove(call, directory=True),
            wire.RENAME: lambda call: self._rename(call, 8),
            wire.RENAME2: lambda call: self._rename(call, 16),
            wire.CREATE: self._create,
            wire.OPEN: self._open,
            wire.READ: self._read,
            wire.WRITE: self._write,
            wire.FLUSH: lambda _: b"",
            wire.FSYNC: self._fsync,
            wire.RELEASE: self._release,
            wire.OPENDIR: lambda call: wire.opened(view.open_directory(call.node)),
            wire.READDIR: self._readdir,
            wire.RELEASEDIR: self._release_directory,
            wire.FSYNCDIR: lambda _: b"",
            wire.STATFS: lambda _: wire.statfs(view.usage()),
            wire.DESTROY: lambda _: b"",
            wire.INTERRUPT: lambda _: b"",
        }

    def run(self) -> None:
        while True:
            try:
                packet = os.read(self._descriptor, wire.MAX_WRITE + 8192)
            except OSError as error:
                if error.errno in {errno.EINTR, errno.ENOENT, errno.EAGAIN}:
                    continue
                if error.errno == errno.ENODEV:
                    return
                raise
            self._serve(wire.parse(packet))

    def _serve(self, call: FuseRequest) -> None:
        handler = self._handlers.get(call.opcode)
        try:
            if handler is None:
                unsupported = (
                    errno.EOPNOTSUPP if call.opcode in {wire.SYMLINK, wire.LINK} else errno.ENOSYS
                )
                raise OSError(unsupported, "not part of SMB")
            reply = wire.answer(call.unique, handler(call))
        except OSError as error:
            reply = wire.answer(call.unique, error=error.errno or errno.EIO)
        if call.opcode == wire.READ and self._pace is not None:
            self._pace.answer(struct.unpack_from("<Q", call.body)[0], len(reply), reply)
        elif call.opcode not in wire.SILENT:
            self._send(reply)

    def _send(self, reply: bytes) -> None:
        try:
            os.write(self._descriptor, reply)
        except OSError as error:
            if error.errno not in {
                errno.ENOENT,
                errno.ENODEV,
            }:  # interrupted meanwhile, or unmounted
                raise

    def _entry(self, node: int, state: os.stat_result) -> bytes:
        return wire.entry(node, self._view.actimeo, wire.attributes(state, self._shown))

    def _lookup(self, call: FuseRequest) -> bytes:
        try:
            return self._entry(*self._view.lookup(call.node, wire.names(call.body)[0]))
        except FileNotFoundError:
            return wire.entry(0, self._view.actimeo, b"")

    def _forget(self, call: FuseRequest) -> bytes:
        self._view.forget(call.node, struct.unpack_from("<Q", call.body)[0])
        return b""

    def _forget_many(self, call: FuseRequest) -> bytes:
        (count,) = struct.unpack_from("<I", call.body)
        for node, lookups in struct.iter_unpack("<QQ", call.body[8 : 8 + 16 * count]):
            self._view.forget(node, lookups)
        return b""

    def _getattr(self, call: FuseRequest) -> bytes:
        flags, _, handle = struct.unpack_from("<IIQ", call.body)
        return self._attributes(call.node, handle if flags & 1 else None)

    def _attributes(self, node: int, handle: int | None = None) -> bytes:
        state = self._view.state(node, handle)
        return wire.attribute_answer(self._view.actimeo, wire.attributes(state, self._shown))

    def _setattr(self, call: FuseRequest) -> bytes:
        """Set sizes and times. Modes and owners are those of the mount, and setting them does
        nothing.
        """
        valid, _, handle, size, _, accessed, modified, _, accessed_ns, modified_ns = (
            struct.unpack_from("<2I6Q2I", call.body)
        )
        known = handle if valid & wire.FATTR_FH else None
        if valid & wire.FATTR_SIZE:
            self._view.truncate(call.node, size, known)
        times = [
            None if not valid & flag else stamp * 10**9 + rest
            for flag, stamp, rest in (
                (wire.FATTR_ATIME, accessed, accessed_ns),
                (wire.FATTR_MTIME, modified, modified_ns),
            )
        ]
        if any(time is not None for time in times):
            self._view.touch(call.node, *times)
        return self._attributes(call.node, known)

    def _mknod(self, call: FuseRequest) -> bytes:
        node, state, handle = self._view.create(
            call.node, wire.names(call.body, 16)[0], os.O_RDWR | os.O_EXCL
        )
        self._view.close(handle)
        return self._entry(node, state)

    def _remove(self, call: FuseRequest, *, directory: bool) -> bytes:
        self._view.remove(call.node, wire.names(call.body)[0], directory=directory)
        return b""

    def _rename(self, call: FuseRequest, skip: int) -> bytes:
        (target,) = struct.unpack_from("<Q", call.body)
        if skip == 16 and struct.unpack_from("<I", call.body, 8)[0]:
            raise OSError(errno.EINVAL, "SMB neither exchanges nor refuses to replace")
        old, new = wire.names(call.body, skip)[:2]
        self._view.rename(call.node, old, target, new)
        return b""

    def _create(self, call: FuseRequest) -> bytes:
        (flags,) = struct.unpack_from("<I", call.body)
        node, state, handle = self._view.create(call.node, wire.names(call.body, 16)[0], flags)
        return self._entry(node, state) + wire.opened(handle)

    def _open(self, call: FuseRequest) -> bytes:
        """An open asks the server: what the client then knows of the file is fresh."""
        (flags,) = struct.unpack_from("<I", call.body)
        handle = self._view.open(call.node, flags)
        try:
            os.write(self._descriptor, wire.forget_attributes(call.node))
        except OSError as error:
            if error.errno != errno.ENOENT:  # the kernel remembers nothing of it
                raise
        return wire.opened(handle)

    def _read(self, call: FuseRequest) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", call.body)
        return self._view.read(handle, size, offset)

    def _write(self, call: FuseRequest) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", call.body)
        return struct.pack("<II", self._view.write(handle, call.body[40 : 40 + size], offset), 0)

    def _fsync(self, call: FuseRequest) -> bytes:
        self._view.sync(struct.unpack_from("<Q", call.body)[0])
        return b""

    def _release(self, call: FuseRequest) -> bytes:
        handle = struct.unpack_from("<Q", call.body)[0]
        self._view.close(handle)
        if self._pace is not None:
            self._pace.forget(handle)
        return b""

    def _readdir(self, call: FuseRequest) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", call.body)
        page = b""
        for index, (name, inode, directory) in enumerate(
            self._view.listed(handle)[offset:], offset + 1
        ):
            entry = wire.directory_entry(inode, index, name, directory=directory)
            if len(page) + len(entry) > size:
                break
            page += entry
        return page

    def _release_directory(self, call: FuseRequest) -> bytes:
        self._view.close_directory(struct.unpack_from("<Q", call.body)[0])
        return b""


def main(descriptor: int, source: str, options: str) -> None:
    given = dict(part.partition("=")[::2] for part in options.split(",") if part)
    shown = Shown(
        int(given.get("uid") or 0),
        int(given.get("gid") or 0),
        int(given.get("file_mode") or "0755", 8),
        int(given.get("dir_mode") or "0755", 8),
    )
    view = View(Path(source), float(given.get("actimeo") or DEFAULT_ACTIMEO))
    FuseServer(descriptor, view, shown, float(given.get(STREAM_RATE) or 0)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
