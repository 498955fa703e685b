"""Files of a share: list, read, write atomically, delete. Paths are inside the share, with `/` and
without a leading one.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import HttpResponseError

from reconciler.api.reasons import AzureCode
from reconciler.arm.concurrency import each
from reconciler.arm.share import Share
from reconciler.engine.errors import ReconcileError

if TYPE_CHECKING:
    from azure.storage.fileshare.aio import ShareClient

# bytes that one request can carry, with a file's creation or into a range
ONE_REQUEST = 4 * 1024 * 1024
_LISTERS = 8
_WRITERS = 12
_MISSING = {AzureCode(code) for code in ("ResourceNotFound", "ParentNotFound", "NotFound")}


@dataclass(frozen=True)
class Entry:
    """A file as a listing shows it; `etag` is without quotes and changes with every write."""

    path: str
    size: int
    etag: str
    modified: datetime | None


async def list_tree(share: Share, prefix: str = "") -> dict[str, Entry]:
    """All files below `prefix` by path relative to it; empty when it does not exist. A request per
    directory and 5,000 files.
    """
    found: dict[str, Entry] = {}
    level = [""]

    async def one(directory: str) -> None:
        entries, below = await list_directory(share, _joined(prefix, directory))
        for entry in entries:
            path = _joined(directory, entry.path)
            found[path] = replace(entry, path=path)
        deeper.extend(_joined(directory, name) for name in below)

    while level:
        deeper: list[str] = []
        await each(level, one, _LISTERS)
        level = deeper
    return found


async def list_directory(share: Share, path: str) -> tuple[list[Entry], list[str]]:
    """The files (their `path` is the bare name) and the names of the directories right in `path`;
    empty when it is not there.
    """

    async def listed(client: ShareClient) -> tuple[list[Entry], list[str]]:
        files: list[Entry] = []
        below: list[str] = []
        options: dict[str, Any] = {"include": ["timestamps", "Etag"]}
        try:
            async for item in client.get_directory_client(path).list_directories_and_files(
                **options
            ):
                if item["is_directory"]:
                    below.append(str(item["name"]))
                else:
                    files.append(
                        Entry(
                            item["name"],
                            int(item["size"] or 0),
                            str(item["etag"]).strip('"'),
                            item["last_modified"],
                        )
                    )
        except HttpResponseError as error:
            if error.status_code != 404 or _code(error) == "ShareNotFound":
                raise
            return [], []
        return files, below

    files, below = await share.call(listed)
    share.directories.update(_joined(path, name) for name in below)
    return files, below


async def read(share: Share, path: str, most: int | None = None) -> bytes | None:
    """The content of a small file, None if it is not there. A longer one is cut after `most` + 1
    bytes, which no reader takes.
    """
    found = await read_with_time(share, path, most)
    return found and found[0]


async def read_with_time(
    share: Share, path: str, most: int | None = None
) -> tuple[bytes, datetime] | None:
    """As `read`, with the share's time of the last write."""

    async def downloaded(client: ShareClient) -> tuple[bytes, datetime] | None:
        file = client.get_file_client(path)
        try:
            content = await file.download_file()
            if most is not None and content.size > most:
                content = await file.download_file(offset=0, length=most + 1)
            return await content.readall(), content.properties["last_modified"]
        except HttpResponseError as error:
            if error.status_code != 404 or _code(error) == "ShareNotFound":
                raise
            return None

    return await share.call(downloaded)


async def read_on(share: Share, path: str, offset: int, most: int) -> bytes:
    """At most `most` bytes of a file from `offset` on; none at its end or where it is missing."""

    async def downloaded(client: ShareClient) -> bytes:
        try:
            content = await client.get_file_client(path).download_file(offset=offset, length=most)
            return bytes(await content.readall())
        except HttpResponseError as error:
            # 416: nothing stands behind the offset
            if error.status_code not in (404, 416) or _code(error) == "ShareNotFound":
                raise
            return b""

    return await share.call(downloaded)


async def exists(share: Share, path: str) -> bool:
    """Whether a file is there."""

    async def asked(client: ShareClient) -> bool:
        try:
            await client.get_file_client(path).get_file_properties()
        except HttpResponseError as error:
            if error.status_code != 404 or _code(error) == "ShareNotFound":
                raise
            return False
        return True

    return await share.call(asked)


async def write(share: Share, path: str, content: bytes) -> str:
    """Create or replace a file so that no reader ever sees half of it: under another name first,
    then renamed. Its etag, as `Entry` has it.
    """
    temporary = temporary_name(path)
    await create(share, temporary, content)
    return await rename(share, temporary, path)


async def create(share: Share, path: str, content: bytes) -> str:
    """Create a file with its content (ONE_REQUEST bytes at most) in a single request; its
    directories as well, if needed. Its etag, as `Entry` has it.

    Of an existing file size and content are replaced, though not at one instant for a reader: see
    `write`.
    """
    headers = {"x-ms-type": "file", "x-ms-content-length": str(len(content))}
    try:
        answer = await share.request("PUT", path, headers, content)
    except ReconcileError as error:
        if error.reason not in _MISSING:
            raise
        # Only these, because other tasks are at work below other directories.
        share.directories -= _above([path])
        await make_parents(share, [path])
        answer = await share.request("PUT", path, headers, content)
    share.directories |= _above([path])
    return _etag(answer)


async def rename(share: Share, path: str, to: str) -> str:
    """Move a file within the share over whatever was there. Its etag, as `Entry` has it."""
    await make_parents(share, [to])
    answers: list[Any] = []

    async def renamed(client: ShareClient) -> None:
        file = client.get_file_client(path)
        await file.rename_file(to, overwrite=True, raw_response_hook=answers.append)

    await share.call(renamed)
    return _etag(answers[-1].http_response.headers)


async def make_parents(share: Share, paths: Iterable[str]) -> None:
    """Make every directory that `paths` need and that is not known to exist, each once, outer ones
    first. On a share that is not new, the one around all of them is tried before those above it,
    which exist where an earlier version was published.
    """
    paths = [*paths]
    needed, around = _above(paths) - share.directories, _around(paths)

    async def make(directory: str) -> None:
        async with share.making[directory]:  # of several tasks, the first makes it
            if directory in share.directories:
                return
            try:
                await share.request("PUT", directory, {}, query={"restype": "directory"})
            except ReconcileError as error:
                if error.reason != AzureCode("ResourceAlreadyExists"):
                    raise
            share.directories |= {directory, *_above([directory])}

    if not share.is_new and around in needed and _above([around]) & needed:
        try:
            await make(around)
        except ReconcileError as error:
            if error.reason not in _MISSING:
                raise
        needed -= share.directories
    for depth in sorted({directory.count("/") for directory in needed}):
        await each(
            (directory for directory in needed if directory.count("/") == depth), make, _WRITERS
        )


async def delete(share: Share, path: str) -> None:
    """Delete a file; it is no error if it is gone."""
    await _gone(share, path, {})


async def delete_tree(share: Share, prefix: str) -> None:
    """Delete a directory and all that is in it; it is no error if it is gone."""
    entries, below = await list_directory(share, prefix)

    async def one(entry: Entry) -> None:
        await delete(share, _joined(prefix, entry.path))

    await each(entries, one, _WRITERS)
    for name in below:
        await delete_tree(share, _joined(prefix, name))
    share.directories.discard(prefix)
    await _gone(share, prefix, {"restype": "directory"})


def temporary_name(path: str) -> str:
    """A name beside `path` that no reader takes for a finished file and no other writer uses."""
    parent, _, name = path.rpartition("/")
    return _joined(parent, f".{name}.{secrets.token_hex(4)}.partial")


def is_temporary(path: str) -> bool:
    """Whether `temporary_name` made this name: what an interrupted write left behind."""
    name = path.rpartition("/")[2]
    return name.startswith(".") and name.endswith(".partial")


async def _gone(share: Share, path: str, query: dict[str, str]) -> None:
    try:
        await share.request("DELETE", path, {}, query=query)
    except ReconcileError as error:
        if error.reason not in _MISSING:
            raise


def _above(paths: Iterable[str]) -> set[str]:
    """The directories that `paths` lie in."""
    return {
        str(parent)
        for path in paths
        for parent in PurePosixPath(path).parents
        if str(parent) != "."
    }


def _around(paths: Collection[str]) -> str:
    """The innermost directory that holds all of them; empty for the share itself."""
    return posixpath.commonpath({path.rpartition("/")[0] for path in paths}) if paths else ""


def _etag(headers: Mapping[str, str]) -> str:
    return str(headers.get("ETag") or "").strip('"')


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", "")
    return str(getattr(code, "value", code))


def _joined(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent and name else parent or name
