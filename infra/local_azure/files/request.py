"""One Files request, taken apart, and the answer to it. The operations in `content`, `directories`, `shares` use nothing else."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import StreamReader

from infra.local_azure.azure import Azure
from infra.local_azure.store import Record

from . import names, tree
from .errors import FilesError, bad_header
from .sidecar import Sidecar


@dataclass(frozen=True)
class Request:
    """`path` is what stands behind the share, still percent-encoded; `body` is read by those who need it."""

    azure: Azure
    sidecar: Sidecar
    account: Record
    share: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: StreamReader
    base: str

    @property
    def share_key(self) -> str:
        return f"{self.account.key}/fileservices/default/shares/{self.share.lower()}"

    @property
    def root(self) -> Path:
        """The share's directory; ShareNotFound when ARM knows no such share."""
        if self.azure.store.get(self.share_key) is None:
            raise FilesError(404, "ShareNotFound", "The specified share does not exist.")
        return tree.ensure(self.azure.options, self.account.name, self.share)

    @property
    def segments(self) -> tuple[str, ...]:
        return names.split(self.path, keep_dot=self.flag("x-ms-allow-trailing-dot"))

    def place(self) -> tuple[Path, str]:
        """Where the file or directory lies, and its key in the sidecar."""
        segments = self.segments
        return names.locate(self.root, segments), self.key(segments)

    def key(self, segments: tuple[str, ...]) -> str:
        return "/".join((self.account.name.lower(), self.share.lower(), *segments))

    def flag(self, name: str) -> bool:
        return self.headers.get(name, "").lower() == "true"

    def number(self, name: str, default: int | None = None) -> int:
        text = self.headers.get(name)
        if text is None and default is not None:
            return default
        if text is None or not text.lstrip("-").isdigit():
            raise bad_header(name)
        return int(text)

    def metadata(self) -> dict[str, str]:
        """The x-ms-meta-* headers."""
        prefix = "x-ms-meta-"
        return {name[len(prefix) :].lower(): value for name, value in self.headers.items() if name.lower().startswith(prefix)}

    async def content(self, length: int) -> bytes:
        """The whole body, which must be `length` bytes; ranges are small (4 MiB at most)."""
        data = await self.body.read() if length else b""
        if len(data) != length:
            raise FilesError(400, "IncompleteBody", "The request body is incomplete.")
        return data


@dataclass(frozen=True)
class Answer:
    """`body` is bytes, or a stream of `length` bytes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""
    length: int | None = None
