"""Every operation of the data plane: its request's shape, who runs it, and what a shared access
signature must grant for it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from . import content, copies, directories, policies, shares
from .answer import FilesAnswer
from .errors import not_there
from .request import FilesRequest
from .sas import Need

Handler = Callable[[FilesRequest], Awaitable[FilesAnswer]]


@dataclass(frozen=True)
class FilesOperation:
    run: Handler
    need: Need


_READ, _WRITE, _MAKE, _DELETE, _LEASE = (
    Need("o", any_of) for any_of in ("r", "w", "cw", "d", "wd")
)
_SHARE_READ, _SHARE_WRITE, _SHARE_MAKE, _SHARE_DELETE, _SHARE_LEASE = (
    Need("c", any_of) for any_of in ("r", "w", "cw", "d", "wd")
)
_LIST, _LIST_SHARES, _KEY_ONLY = Need("c", "l"), Need("s", "l"), Need("c", "")

# (method, restype, comp) -> operation, for a path that names a file or directory below a share …
_BELOW: dict[tuple[str, str, str], FilesOperation] = {
    ("PUT", "", ""): FilesOperation(content.create, _MAKE),
    ("PUT", "", "range"): FilesOperation(content.put_range, _WRITE),
    ("PUT", "", "metadata"): FilesOperation(content.set_metadata, _WRITE),
    ("PUT", "", "properties"): FilesOperation(content.set_properties, _WRITE),
    ("PUT", "", "rename"): FilesOperation(content.rename, _WRITE),
    ("PUT", "", "lease"): FilesOperation(content.lease, _LEASE),
    ("PUT", "", "copy"): FilesOperation(copies.abort, _WRITE),
    ("GET", "", ""): FilesOperation(content.read, _READ),
    ("GET", "", "rangelist"): FilesOperation(content.ranges, _READ),
    ("HEAD", "", ""): FilesOperation(content.head, _READ),
    ("DELETE", "", ""): FilesOperation(content.delete, _DELETE),
    ("PUT", "directory", ""): FilesOperation(directories.create, _MAKE),
    ("PUT", "directory", "metadata"): FilesOperation(directories.set_metadata, _WRITE),
    ("PUT", "directory", "properties"): FilesOperation(directories.set_properties, _WRITE),
    ("PUT", "directory", "rename"): FilesOperation(content.rename, _WRITE),
    ("GET", "directory", ""): FilesOperation(directories.get, _READ),
    ("HEAD", "directory", ""): FilesOperation(directories.get, _READ),
    ("GET", "directory", "list"): FilesOperation(directories.listing, _LIST),
    ("DELETE", "directory", ""): FilesOperation(directories.delete, _DELETE),
}
# … for the share itself …
_SHARE: dict[tuple[str, str, str], FilesOperation] = {
    ("PUT", "share", ""): FilesOperation(shares.create, _SHARE_MAKE),
    ("GET", "share", ""): FilesOperation(shares.get, _SHARE_READ),
    ("HEAD", "share", ""): FilesOperation(shares.get, _SHARE_READ),
    ("DELETE", "share", ""): FilesOperation(shares.delete, _SHARE_DELETE),
    ("PUT", "share", "metadata"): FilesOperation(shares.set_metadata, _SHARE_WRITE),
    ("PUT", "share", "properties"): FilesOperation(shares.set_properties, _SHARE_WRITE),
    ("PUT", "share", "lease"): FilesOperation(shares.lease, _SHARE_LEASE),
    ("GET", "share", "stats"): FilesOperation(shares.statistics, _SHARE_READ),
    ("GET", "share", "acl"): FilesOperation(policies.get, _KEY_ONLY),
    ("PUT", "share", "acl"): FilesOperation(policies.put, _KEY_ONLY),
    ("GET", "directory", ""): FilesOperation(directories.get, _READ),
    ("HEAD", "directory", ""): FilesOperation(directories.get, _READ),
    ("GET", "directory", "list"): FilesOperation(directories.listing, _LIST),
}
# … and for the account's service.
_SERVICE: dict[tuple[str, str, str], FilesOperation] = {
    ("GET", "", "list"): FilesOperation(shares.listing, _LIST_SHARES),
}
# What brings its content from another file says so in a header.
_FROM_ELSEWHERE = {
    "": FilesOperation(copies.copy, _MAKE),
    "range": FilesOperation(copies.put_range, _WRITE),
}


def find(
    method: str, share: str, below: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> FilesOperation:
    """The operation a request asks for; 501 for what is not here."""
    if "sharesnapshot" in query:
        raise not_there("share snapshots")
    shape = (method, query.get("restype", "").lower(), query.get("comp", "").lower())
    found = (_BELOW if below else _SHARE if share else _SERVICE).get(shape)
    if below and shape[:2] == ("PUT", "") and "x-ms-copy-source" in headers:
        found = _FROM_ELSEWHERE.get(shape[2], found)
    if found is None:
        raise not_there(f"{method} with restype={shape[1]!r} comp={shape[2]!r}")
    return found
