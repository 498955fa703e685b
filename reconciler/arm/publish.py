"""Publishes a folder to the share under its digest, with high concurrency and as few requests as
possible; verifies it later.

A published folder is complete when its manifest is there, which is written last. Readers look at
nothing without one, so small files are created in place in one request; a large one gets its name
only when all of it is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from reconciler.api.reasons import Reason
from reconciler.arm import files
from reconciler.arm.concurrency import each, together
from reconciler.arm.share import Share
from reconciler.engine.errors import RetryableError
from serving.catalogue import LONGEST
from serving.untrusted import UntrustedError, parse

MANIFEST = ".moorage.json"
_BESIDE = 20  # versions of a folder that are looked at for the closest one
_SMALL_AT_ONCE = 12  # leaves connections to ARM calls and the lease
_LARGE_AT_ONCE = 2
_LITTLE = 256 * 1024  # bytes; longer bodies take turns, see `Share.long_bodies`


class LocalFile(NamedTuple):
    """A file to publish: where it is, its size in bytes and the SHA-256 that went into the folder's
    digest.
    """

    path: Path
    size: int
    sha256: str


class ShareStamp(NamedTuple):
    """What a listing, or the answer to an upload, said of a published file; kept by the caller, it
    shows later whether anybody has written to it since. `modified` is empty after an upload.
    """

    size: int
    etag: str
    modified: str  # ISO 8601


@dataclass(frozen=True)
class Published:
    """The outcome of a publish: numbers of files, bytes sent, and the stamps of all files of the
    folder.
    """

    uploaded: int
    kept: int
    sent: int
    stamps: Mapping[str, ShareStamp]


@dataclass(frozen=True)
class Verification:
    """How a published folder differs from what was published. `complete` is whether it has its
    manifest.
    """

    complete: bool
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    stamps: Mapping[str, ShareStamp] = field(default_factory=dict)


Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


async def publish(
    share: Share,
    tree: Mapping[str, LocalFile],
    prefix: str,
    digest: str,
    *,
    dtype: str = "",
    again: Collection[str] = (),
    empty: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Published:
    """Upload `tree` (by path relative to the folder) to `prefix`, then its manifest.

    Files that are there with the right size are kept, which is how an interrupted publish goes on;
    `again` names those to write anyway, because `verify` found them changed. `empty` says that a
    look has just found nothing there. Raises `engine.errors` only; publish again to go on.
    """
    present = {} if empty else await files.list_tree(share, prefix)
    todo = {
        path: local
        for path, local in tree.items()
        if path in again or not _there(present.get(path), local)
    }
    if todo or MANIFEST not in present or MANIFEST in again:
        sent = await _upload(share, prefix, todo, present, _Meter(progress, tree, todo))
        whole = manifest(digest, tree, dtype)
        etag = await files.write(share, f"{prefix}/{MANIFEST}", whole)
        if not present:  # Azure has answered for each file, so a listing would say no more
            sent[MANIFEST] = ShareStamp(len(whole), etag, "")
            return Published(len(todo), 0, sum(local.size for local in todo.values()), sent)
        await _sweep(share, prefix, present)
        present = await files.list_tree(share, prefix)
    stamps = _stamps(present)
    if torn := sorted(path for path, local in tree.items() if not _there(present.get(path), local)):
        raise RetryableError(
            Reason.PUBLISH_INCOMPLETE,
            f"{torn[0]} is not in {prefix} as it was sent; somebody else changed it.",
        )
    return Published(
        len(todo), len(tree) - len(todo), sum(local.size for local in todo.values()), stamps
    )


async def verify(
    share: Share,
    prefix: str,
    tree: Mapping[str, LocalFile],
    stamps: Mapping[str, ShareStamp] | None = None,
) -> Verification:
    """Compare the folder with `tree` by names and sizes, and with `stamps` of an earlier publish
    for other writes.
    """
    present = await files.list_tree(share, prefix)
    missing = [path for path in tree if path not in present]
    changed = [
        path for path, local in tree.items() if path in present and present[path].size != local.size
    ]
    seen = _stamps(present)
    for path, stamp in (stamps or {}).items():
        if path in seen and not _same(seen[path], stamp) and path not in changed:
            changed.append(path)
    return Verification(MANIFEST in present, tuple(sorted(missing)), tuple(sorted(changed)), seen)


async def send(
    share: Share, prefix: str, todo: Mapping[str, LocalFile], present: Collection[str]
) -> None:
    """Upload files in place, each replaced at once, and nothing else: no manifest, nothing is
    removed.
    """
    if todo:
        await _upload(share, prefix, todo, present, _Meter(lambda _done, _all: None, todo, todo))


async def closest(share: Share, prefix: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 by path of one published folder: of those at `prefix` and beside it, the one that has
    most files of `wanted`. Empty if there is none.
    """
    parent = prefix.rpartition("/")[0]
    _, below = await files.list_directory(share, parent)
    found = [await _listed(share, f"{parent}/{name}") for name in sorted(below)[-_BESIDE:]]
    return max(found, key=lambda each: len(each.items() & wanted.items()), default={})


async def _listed(share: Share, prefix: str) -> dict[str, str]:
    """SHA-256 by path, as the folder's manifest has it; empty where it has none that can be
    read.
    """
    with suppress(UntrustedError):
        body = parse(await files.read(share, f"{prefix}/{MANIFEST}", LONGEST) or b"", LONGEST)
        listed = body.get("files") if isinstance(body, dict) else None
        if isinstance(listed, dict):
            return {
                str(path): str(entry[1])
                for path, entry in listed.items()
                if isinstance(entry, list) and len(entry) == 2
            }
    return {}


def manifest(digest: str, tree: Mapping[str, LocalFile], dtype: str = "") -> bytes:
    """`{"digest", "files": {path: [size, sha256]}}` as bytes, the same for the same tree. With
    `dtype` the weights were rewritten with floats of that type, and `digest` is the source's.
    """
    listed = {path: [tree[path].size, tree[path].sha256] for path in sorted(tree)}
    body = {"digest": digest, "files": listed, **({"dtype": dtype} if dtype else {})}
    return json.dumps(body, separators=(",", ":")).encode()


async def _upload(
    share: Share,
    prefix: str,
    todo: Mapping[str, LocalFile],
    present: Collection[str],
    meter: _Meter,
) -> dict[str, ShareStamp]:
    stamps: dict[str, ShareStamp] = {}
    await files.make_parents(share, [f"{prefix}/{path}" for path in [*todo, MANIFEST]])

    async def send_small(path: str) -> None:
        async with share.long_bodies if todo[path].size > _LITTLE else nullcontext():
            content = await _content(todo[path])
            # A file that readers may be using can only be replaced by a rename. Nobody reads a new
            # one yet.
            etag = await (files.write if path in present else files.create)(
                share, f"{prefix}/{path}", content
            )
        stamps[path] = ShareStamp(len(content), etag, "")
        meter.add(len(content))

    async def send_large(path: str) -> None:
        etag = await _send_large(share, f"{prefix}/{path}", todo[path], meter)
        stamps[path] = ShareStamp(todo[path].size, etag, "")

    async def send_all(group: asyncio.TaskGroup) -> None:
        small = [path for path, local in todo.items() if local.size <= files.ONE_REQUEST]
        large = [path for path, local in todo.items() if local.size > files.ONE_REQUEST]
        group.create_task(each(small, send_small, _SMALL_AT_ONCE))
        group.create_task(each(large, send_large, _LARGE_AT_ONCE))

    await together(send_all)
    return stamps


async def _send_large(share: Share, path: str, local: LocalFile, meter: _Meter) -> str:
    """Create under a temporary name, write 4 MiB ranges in parallel while hashing what is read,
    rename; the file's etag.
    """
    temporary = files.temporary_name(path)
    await share.request(
        "PUT", temporary, {"x-ms-type": "file", "x-ms-content-length": str(local.size)}
    )
    hashed = hashlib.sha256()

    async def send(offset: int, content: bytes) -> None:
        last = offset + len(content) - 1
        headers = {"x-ms-write": "update", "x-ms-range": f"bytes={offset}-{last}"}
        await share.request("PUT", temporary, headers, content, {"comp": "range"})
        meter.add(len(content))

    async def send_ranges(group: asyncio.TaskGroup) -> None:
        with _readable(local), local.path.open("rb") as source:
            for offset in range(0, local.size, files.ONE_REQUEST):
                await share.long_bodies.acquire()
                try:
                    content = await asyncio.to_thread(_next_part, source, hashed)
                    if len(content) != min(files.ONE_REQUEST, local.size - offset):
                        _check(local, "")
                except BaseException:
                    share.long_bodies.release()
                    raise
                # Not in `send`: a task that is cancelled before it began would never release.
                group.create_task(send(offset, content)).add_done_callback(
                    lambda _: share.long_bodies.release()
                )
                del content

    await together(send_ranges)
    _check(local, hashed.hexdigest())
    return await files.rename(share, temporary, path)


def _next_part(source: BinaryIO, hashed: hashlib._Hash) -> bytes:
    part = source.read(files.ONE_REQUEST)
    hashed.update(part)
    return part


async def _content(local: LocalFile) -> bytes:
    with _readable(local):
        # A thread costs more than reading a small file that was hashed a moment ago.
        content = (
            local.path.read_bytes()
            if local.size <= _LITTLE
            else await asyncio.to_thread(local.path.read_bytes)
        )
    _check(local, hashlib.sha256(content).hexdigest())
    return content


@contextmanager
def _readable(local: LocalFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RetryableError(
            Reason.SOURCE_UNREADABLE, f"{local.path} cannot be read: {error.strerror or error}."
        ) from error


def _check(local: LocalFile, sha256: str) -> None:
    if sha256 != local.sha256:
        raise RetryableError(
            Reason.SOURCE_CHANGED, f"{local.path} changed while it was being published."
        )


async def _sweep(share: Share, prefix: str, present: Mapping[str, files.Entry]) -> None:
    """Remove what interrupted uploads left behind."""
    for path in present:
        if files.is_temporary(path):
            await files.delete(share, f"{prefix}/{path}")


def _there(entry: files.Entry | None, local: LocalFile) -> bool:
    return entry is not None and entry.size == local.size


def _same(seen: ShareStamp, stamp: ShareStamp) -> bool:
    return seen == (stamp if stamp.modified else stamp._replace(modified=seen.modified))


def _stamps(present: Mapping[str, files.Entry]) -> dict[str, ShareStamp]:
    return {path: _stamp(entry) for path, entry in present.items() if not files.is_temporary(path)}


def _stamp(entry: files.Entry) -> ShareStamp:
    return ShareStamp(entry.size, entry.etag, entry.modified.isoformat() if entry.modified else "")


class _Meter:
    def __init__(
        self, progress: Progress, tree: Mapping[str, LocalFile], todo: Mapping[str, LocalFile]
    ) -> None:
        self._progress = progress
        self._total = sum(local.size for local in tree.values())
        self._done = self._total - sum(local.size for local in todo.values())
        self.add(0)

    def add(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self._total)
