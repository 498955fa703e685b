"""Every operation of the data plane: its request's shape, who runs it, and what a shared access
signature must grant for it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from . import content, copies, directories, policies, shares
from .answer import Answer
from .errors import not_there
from .request import Request
from .sas import Need

Handler = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True)
class Operation:
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
_BELOW: dict[tuple[str, str, str], Operation] = {
    ("PUT", "", ""): Operation(content.create, _MAKE),
    ("PUT", "", "range"): Operation(content.put_range, _WRITE),
    ("PUT", "", "metadata"): Operation(content.set_metadata, _WRITE),
    ("PUT", "", "properties"): Operation(content.set_properties, _WRITE),
    ("PUT", "", "rename"): Operation(content.rename, _WRITE),
    ("PUT", "", "lease"): Operation(content.lease, _LEASE),
    ("PUT", "", "copy"): Operation(copies.abort, _WRITE),
    ("GET", "", ""): Operation(content.read, _READ),
    ("GET", "", "rangelist"): Operation(content.ranges, _READ),
    ("HEAD", "", ""): Operation(content.head, _READ),
    ("DELETE", "", ""): Operation(content.delete, _DELETE),
    ("PUT", "directory", ""): Operation(directories.create, _MAKE),
    ("PUT", "directory", "metadata"): Operation(directories.set_metadata, _WRITE),
    ("PUT", "directory", "properties"): Operation(directories.set_properties, _WRITE),
    ("PUT", "directory", "rename"): Operation(content.rename, _WRITE),
    ("GET", "directory", ""): Operation(directories.get, _READ),
    ("HEAD", "directory", ""): Operation(directories.get, _READ),
    ("GET", "directory", "list"): Operation(directories.listing, _LIST),
    ("DELETE", "directory", ""): Operation(directories.delete, _DELETE),
}
# … for the share itself …
_SHARE: dict[tuple[str, str, str], Operation] = {
    ("PUT", "share", ""): Operation(shares.create, _SHARE_MAKE),
    ("GET", "share", ""): Operation(shares.get, _SHARE_READ),
    ("HEAD", "share", ""): Operation(shares.get, _SHARE_READ),
    ("DELETE", "share", ""): Operation(shares.delete, _SHARE_DELETE),
    ("PUT", "share", "metadata"): Operation(shares.set_metadata, _SHARE_WRITE),
    ("PUT", "share", "properties"): Operation(shares.set_properties, _SHARE_WRITE),
    ("PUT", "share", "lease"): Operation(shares.lease, _SHARE_LEASE),
    ("GET", "share", "stats"): Operation(shares.statistics, _SHARE_READ),
    ("GET", "share", "acl"): Operation(policies.get, _KEY_ONLY),
    ("PUT", "share", "acl"): Operation(policies.put, _KEY_ONLY),
    ("GET", "directory", ""): Operation(directories.get, _READ),
    ("HEAD", "directory", ""): Operation(directories.get, _READ),
    ("GET", "directory", "list"): Operation(directories.listing, _LIST),
}
# … and for the account's service.
_SERVICE: dict[tuple[str, str, str], Operation] = {
    ("GET", "", "list"): Operation(shares.listing, _LIST_SHARES),
}
# What brings its content from another file says so in a header.
_FROM_ELSEWHERE = {"": Operation(copies.copy, _MAKE), "range": Operation(copies.put_range, _WRITE)}


def find(
    method: str, share: str, below: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> Operation:
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
