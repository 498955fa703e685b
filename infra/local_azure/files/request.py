"""One Files request, and the parts that serve it. The operations in `content`, `directories` and
`shares` use nothing else.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from aiohttp import StreamReader

from infra.local_azure.store import Record, Store

from . import leases, names
from .errors import FilesError, bad_header
from .property_store import PropertyStore
from .share_records import Shares
from .tree import Tree
from .usage import Usage

_NUMBER = re.compile(r"-?[0-9]{1,18}")


@dataclass
class DataPlane:
    """What every operation of the data plane may use. `base` is this server's URL, known once it
    listens; a connection may be silent for `idle_s`.
    """

    store: Store
    tree: Tree
    shares: Shares
    extras: PropertyStore
    usage: Usage
    idle_s: float
    base: str = ""


@dataclass(frozen=True)
class FilesRequest:
    """`path` is what stands behind the share, still percent-encoded; `body` is read by those who
    need it.
    """

    plane: DataPlane
    account: Record
    share: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: StreamReader
    base: str
    remote: str
    by_sas: bool

    @property
    def store(self) -> Store:
        return self.plane.store

    @property
    def extras(self) -> PropertyStore:
        return self.plane.extras

    @property
    def share_key(self) -> str:
        return f"{self.account.key}/fileservices/default/shares/{self.share.lower()}"

    @property
    def root(self) -> Path:
        """The share's directory; ShareNotFound when ARM knows no such share."""
        if self.store.get(self.share_key) is None:
            raise FilesError(404, "ShareNotFound", "The specified share does not exist.")
        return self.plane.tree.ensure(self.account.name, self.share)

    @property
    def segments(self) -> tuple[str, ...]:
        return names.split(self.path, keep_dot=self.flag("x-ms-allow-trailing-dot"))

    def place(self) -> tuple[Path, str]:
        """Where the file or directory lies, and the key of its properties."""
        path = names.locate(self.root, self.segments)
        return path, self.key(path)

    def key(self, path: Path) -> str:
        """The key of a path's properties."""
        return "/".join(
            (self.account.name.lower(), self.share.lower(), *path.relative_to(self.root).parts)
        )

    def lease_key(self, path: Path) -> str:
        """A file's lease lies below its share's, and goes with it."""
        return "/".join((self.share_key, *path.relative_to(self.root).parts)).lower()

    def may_write(self, path: Path, header: str = "x-ms-lease-id") -> None:
        """Refuse to change a leased file without its lease."""
        leases.require(self.store, self.lease_key(path), self.headers.get(header))

    async def reserve(self, path: Path, size: int) -> None:
        """Room in the share for a file to become `size` bytes."""
        try:
            before = os.lstat(path).st_size
        except (FileNotFoundError, NotADirectoryError):
            before = 0
        record = self.store.get(self.share_key)
        if record is not None:
            await self.plane.usage.reserve(self.root, record.body["shareQuota"], size - before)

    def flag(self, name: str) -> bool:
        return self.headers.get(name, "").lower() == "true"

    def number(self, name: str, default: int | None = None) -> int:
        text = self.headers.get(name)
        if text is None and default is not None:
            return default
        if text is None or not _NUMBER.fullmatch(text):
            raise bad_header(name, text)
        return int(text)

    def url(self, name: str) -> SplitResult:
        """The header that names the source of a copy or a rename."""
        try:
            return urlsplit(self.headers.get(name, ""))
        except ValueError:  # an unfinished IPv6 address
            raise bad_header(name) from None

    def metadata(self) -> dict[str, str]:
        """The x-ms-meta-* headers."""
        prefix = "x-ms-meta-"
        return {
            name[len(prefix) :].lower(): value
            for name, value in self.headers.items()
            if name.lower().startswith(prefix)
        }

    def page_size(self, most: int) -> int:
        """How many entries a page of a list has: `maxresults`, and never more than `most`."""
        text = self.query.get("maxresults") or str(most)
        if not _NUMBER.fullmatch(text):
            message = (
                "Value for one of the query parameters specified in the request URI is invalid."
            )
            raise FilesError(400, "InvalidQueryParameterValue", message)
        size = min(int(text), most)
        if size < 1:
            message = (
                "One of the query parameters specified in the request URI is outside the"
                " permissible range."
            )
            raise FilesError(400, "OutOfRangeQueryParameterValue", message)
        return size

    async def content(self, length: int) -> bytes:
        """The whole body, which must be `length` bytes; ranges are small (4 MiB at most)."""
        try:
            async with asyncio.timeout(self.plane.idle_s):
                data = await self.body.read() if length else b""
        except TimeoutError:
            text = "Operation could not be completed within the permitted time."
            raise FilesError(500, "OperationTimedOut", text) from None
        if len(data) != length:
            raise FilesError(400, "IncompleteBody", "The request body is incomplete.")
        return data


def decoded(query: str) -> dict[str, str]:
    """A query's parameters, names in lower case. A plus is a plus here, not a blank."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {unquote(name).lower(): unquote(value) for name, _, value in pairs}
