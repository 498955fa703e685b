"""Content that comes from another file of this local Azure: whole (Copy File) or a range of it (Put
Range From URL).

A source in another account, or one that is asked for with a SAS, must be opened by a SAS of its own
in the URL.
"""

import asyncio
import os
import shutil
import time
import uuid
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from infra.local_azure import clock

from . import content, disk, names, properties, sas
from .answer import FilesAnswer
from .errors import FilesError, not_there
from .property_store import Extras
from .request import FilesRequest, decoded
from .share_records import ACCOUNT

SUFFIX = ".file.localhost"  # what the cloud's metadata says


async def copy(request: FilesRequest) -> FilesAnswer:
    """Copy a file; done when answered. The copy has the source's metadata unless the request brings
    its own.
    """
    wanted = request.headers["x-ms-copy-source"]
    source, key = _source(request)
    path, target = request.place()
    before = disk.state_of(source)
    request.may_write(path)
    await request.reserve(path, before.st_size)
    # A copy onto itself would empty the file before it is read.
    if not (path.exists() and path.samefile(source)):
        os.close(disk.open_new(path))
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
    extras: Extras = {**request.extras.get(key, before.st_ino), "copy": shown}
    extras["created"] = clock.smb(time.time_ns())
    if metadata := request.metadata():
        extras["metadata"] = metadata
    request.extras.put(target, state.st_ino, extras)
    # 202 although it is done: Azure's clients then ask for the status, and find `success`.
    return FilesAnswer(202, {**properties.written(state, extras), **done})


async def abort(request: FilesRequest) -> FilesAnswer:
    """Every copy is done when it is answered."""
    disk.state_of(request.place()[0])
    raise FilesError(409, "NoPendingCopyOperation", "There is currently no pending copy operation.")


async def put_range(request: FilesRequest) -> FilesAnswer:
    """Write a range with the bytes of the source's range."""
    source, _ = _source(request)
    start, end = disk.byte_range(request.headers.get("x-ms-source-range", ""))
    if end is None or end - start >= disk.MAX_RANGE:
        raise FilesError(
            400, "InvalidHeaderValue", "The source range must be bounded and 4 MiB at most."
        )
    descriptor = disk.open_file(source, disk.READ)
    try:
        data = await asyncio.to_thread(os.pread, descriptor, end - start + 1, start)
    finally:
        os.close(descriptor)
    if len(data) != end - start + 1:
        raise FilesError(
            416,
            "InvalidRange",
            "The range specified is invalid for the current size of the resource.",
        )
    span = disk.byte_range(request.headers.get("x-ms-range") or request.headers.get("Range", ""))
    if span[1] is None or span[1] - span[0] != end - start:
        raise FilesError(
            400, "InvalidHeaderValue", "The range and the source range of the request do not agree."
        )
    return await content.write_range(request, (span[0], span[1]), data)


def _source(request: FilesRequest) -> tuple[Path, str]:
    """Where the source lies and the key of its properties; the caller must be able to read it."""
    parts = request.url("x-ms-copy-source")
    path, here = parts.path, {urlsplit(request.base).netloc, urlsplit(request.plane.base).netloc}
    if parts.netloc.endswith(SUFFIX):  # az knows an account by its name and our suffix
        path, here = f"/{parts.netloc.partition('.')[0]}{path}", {parts.netloc}
    account, _, rest = path.lstrip("/").partition("/")
    share, _, below = rest.partition("/")
    if parts.netloc not in here or not below:
        raise not_there("a copy source outside this local Azure")
    records = request.store.each(ACCOUNT)
    owner = next((record for record in records if record.name == account.lower()), None)
    if owner is None:
        raise FilesError(404, "CannotVerifyCopySource", "The specified resource does not exist.")
    there = replace(request, account=owner, share=unquote(share), path=below)
    if owner.key != request.account.key or request.by_sas:
        _opened_by(there, parts.query)
    segments = names.split(below, keep_dot=request.flag("x-ms-source-allow-trailing-dot"))
    source = names.locate(there.root, segments)
    if names.kind(source) != "file":
        raise FilesError(404, "CannotVerifyCopySource", "The specified resource does not exist.")
    return source, there.key(source)


def _opened_by(source: FilesRequest, query: str) -> None:
    """The URL of a source that the request's own authorization does not cover carries a SAS."""
    parameters = decoded(query)
    if "sig" not in parameters:
        raise FilesError(
            401, "CannotVerifyCopySource", "Server failed to authenticate the request."
        )
    try:
        sas.check(parameters, sas.Need("o", "r"), source)
    except FilesError as refused:
        raise FilesError(
            refused.status, "CannotVerifyCopySource", refused.message, more=refused.more
        ) from None
