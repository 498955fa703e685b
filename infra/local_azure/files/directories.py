"""Directories: create, properties, metadata, delete, and the listing with its pages."""

import asyncio
import base64
import os
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from infra.local_azure import clock

from . import disk, names, properties
from .answer import FilesAnswer
from .errors import FilesError, exists, missing
from .property_store import Extras
from .request import FilesRequest

PAGE = 5000


async def create(request: FilesRequest) -> FilesAnswer:
    path, key = request.place()
    if not request.segments or names.kind(path):
        raise exists()
    try:
        path.mkdir(mode=0o755)
    except (FileNotFoundError, NotADirectoryError):
        raise missing("parent") from None
    state = os.lstat(path)
    extras = properties.sent(request, new=True)
    if metadata := request.metadata():
        extras["metadata"] = metadata
    request.extras.put(key, state.st_ino, extras)
    return FilesAnswer(201, properties.written(state, extras))


async def get(request: FilesRequest) -> FilesAnswer:
    """The properties of a directory. A file of that name is answered as not found."""
    path, key = request.place()
    if names.kind(path) == "file":
        raise missing()
    state = disk.state_of(path, "directory")
    extras = request.extras.get(key, state.st_ino)
    metadata = {f"x-ms-meta-{name}": value for name, value in extras.get("metadata", {}).items()}
    return FilesAnswer(
        200, {**properties.written(state, extras), "x-ms-server-encrypted": "true", **metadata}
    )


async def delete(request: FilesRequest) -> FilesAnswer:
    path, key = request.place()
    disk.state_of(path, "directory")
    if not request.segments:
        raise FilesError(400, "InvalidUri", "The root directory of a share cannot be deleted.")
    try:
        path.rmdir()
    except OSError:
        raise FilesError(
            409, "DirectoryNotEmpty", "The specified directory is not empty."
        ) from None
    request.extras.drop(key)
    return FilesAnswer(202)


async def set_metadata(request: FilesRequest) -> FilesAnswer:
    return _update(request, {"metadata": request.metadata()})


async def set_properties(request: FilesRequest) -> FilesAnswer:
    return _update(request, properties.sent(request))


async def listing(request: FilesRequest) -> FilesAnswer:
    """Files and directories in name order, one page at a time; the marker is the first name of the
    next page.
    """
    path, key = request.place()
    disk.state_of(path, "directory")
    prefix, marker = request.query.get("prefix", ""), _unmark(request.query.get("marker", ""))
    size = request.page_size(PAGE)
    wanted = {part.lower() for part in request.query.get("include", "").split(",") if part}
    extended = request.flag("x-ms-file-extended-info") or bool(wanted)
    kept = request.extras.below(key) if wanted & {"etag", "timestamps"} else {}
    entries, following = await asyncio.to_thread(
        _entries, path, prefix, marker, size, wanted, kept, extended=extended
    )
    shown = "/".join(request.segments)
    sizes = f"<MaxResults>{size}</MaxResults>" if "maxresults" in request.query else ""
    marks = (
        f"<Marker>{escape(request.query['marker'])}</Marker>" if request.query.get("marker") else ""
    )
    number = (
        f"<DirectoryId>{os.lstat(path).st_ino if request.segments else 0}</DirectoryId>"
        if extended
        else ""
    )
    begins = f"<Prefix>{escape(prefix)}</Prefix>" if prefix else ""
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        "<EnumerationResults"
        f" ServiceEndpoint={quoteattr(f'{request.base}/{request.account.name}/')} "
        f"ShareName={quoteattr(request.share)} DirectoryPath={quoteattr(shown)}>"
        f"{begins}{marks}{sizes}{number}<Entries>{''.join(entries)}</Entries>"
        f"<NextMarker>{_mark(following)}</NextMarker></EnumerationResults>"
    )
    return FilesAnswer(200, {"Content-Type": "application/xml"}, body.encode())


def _update(request: FilesRequest, change: dict[str, object]) -> FilesAnswer:
    path, key = request.place()
    state = disk.state_of(path, "directory")
    extras = request.extras.get(key, state.st_ino)
    extras = {**extras, **change, "version": extras.get("version", 0) + 1}
    request.extras.put(key, state.st_ino, extras)
    return FilesAnswer(200, properties.written(state, extras))


def _entries(
    path: Path,
    prefix: str,
    marker: str,
    size: int,
    wanted: set[str],
    kept: dict[str, Extras],
    *,
    extended: bool,
) -> tuple[list[str], str]:
    """The XML of one page, and the name the next page begins with."""
    with os.scandir(path) as found:
        here = sorted(
            (entry for entry in found if _listed(entry, prefix, marker)),
            key=lambda entry: entry.name,
        )
    shown, following = here[:size], here[size].name if len(here) > size else ""
    entries = []
    for entry in shown:
        try:
            entries.append(_entry(entry, wanted, kept.get(entry.name, {}), extended=extended))
        except FileNotFoundError:
            continue
    return entries, following


def _listed(entry: "os.DirEntry[str]", prefix: str, marker: str) -> bool:
    """Links and names that are no text are not part of a share."""
    if (
        entry.name < marker
        or not entry.name.lower().startswith(prefix.lower())
        or entry.name.startswith(".deleted-")
    ):
        return False
    return entry.name.isprintable() and (
        entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
    )


def _entry(entry: "os.DirEntry[str]", wanted: set[str], extras: Extras, *, extended: bool) -> str:
    state = entry.stat(follow_symlinks=False)
    is_file = entry.is_file(follow_symlinks=False)
    kind = "File" if is_file else "Directory"
    inner = f"<Content-Length>{state.st_size}</Content-Length>" if is_file else ""
    if "timestamps" in wanted:
        modified, changed = clock.smb(state.st_mtime_ns), clock.smb(state.st_ctime_ns)
        inner += f"<CreationTime>{extras.get('created') or min(modified, changed)}</CreationTime>"
        inner += f"<LastAccessTime>{modified}</LastAccessTime>"
        inner += f"<LastWriteTime>{modified}</LastWriteTime><ChangeTime>{changed}</ChangeTime>"
        inner += f"<Last-Modified>{clock.http(state.st_mtime)}</Last-Modified>"
    if "etag" in wanted:
        inner += f"<Etag>{escape(properties.etag(state, extras))}</Etag>"
    rest = (
        f"<Attributes>{'Archive' if is_file else 'Directory'}</Attributes>"
        if "attributes" in wanted
        else ""
    )
    rest += (
        f"<PermissionKey>{properties.PERMISSION}</PermissionKey>"
        if "permissionkey" in wanted
        else ""
    )
    number = f"<FileId>{state.st_ino}</FileId>" if extended else ""
    name = f"<Name>{escape(entry.name)}</Name>"
    return f"<{kind}>{name}{number}<Properties>{inner}</Properties>{rest}</{kind}>"


def _mark(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode() if name else ""


def _unmark(marker: str) -> str:
    try:
        return base64.urlsafe_b64decode(marker).decode()
    except ValueError:
        raise FilesError(
            400, "InvalidQueryParameterValue", "Value for the marker is not valid."
        ) from None
