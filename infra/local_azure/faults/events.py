"""Describes a request to the faults: its plane, method, operation and names. Set once per request,
read at the hooks.
"""

from contextvars import ContextVar
from urllib.parse import parse_qsl, unquote

from infra.local_azure.arm import ids

from .fault import Event

HEALTH = "local-azure-health"  # the User-Agent of the look at whether the server runs
CURRENT: ContextVar[Event | None] = ContextVar("event", default=None)
_GROUPS = "microsoft.resources/resourcegroups"
_FILES = {
    ("share", "PUT", ""): "CreateShare",
    ("share", "PUT", "lease"): "LeaseShare",
    ("share", "GET", ""): "GetShare",
    ("share", "GET", "stats"): "GetShareStats",
    ("share", "DELETE", ""): "DeleteShare",
    ("directory", "PUT", ""): "CreateDirectory",
    ("directory", "PUT", "rename"): "RenameDirectory",
    ("directory", "GET", ""): "GetDirectory",
    ("directory", "GET", "list"): "ListDirectory",
    ("directory", "DELETE", ""): "DeleteDirectory",
    ("", "PUT", ""): "CreateFile",
    ("", "PUT", "range"): "PutRange",
    ("", "PUT", "rename"): "RenameFile",
    ("", "PUT", "metadata"): "SetFileMetadata",
    ("", "PUT", "properties"): "SetFileProperties",
    ("", "GET", ""): "GetFile",
    ("", "GET", "list"): "ListShares",
    ("", "GET", "rangelist"): "ListRanges",
    ("", "HEAD", ""): "GetFileProperties",
    ("", "DELETE", ""): "DeleteFile",
}


def of_request(plane: str, method: str, path: str, query: str, client: str) -> Event | None:
    """`path` and `query` as they came over the wire; `client` is the User-Agent. None for the look
    at whether the server runs: a fault on it would say that it does not.
    """
    if client == HEALTH:
        return None
    if plane == "arm":
        return _arm(method, path, client)
    if plane == "files":
        return _files(method, path, dict(parse_qsl(query)), client)
    return Event(plane, method, client=client)


def _arm(method: str, path: str, client: str) -> Event:
    target = ids.parse(path)
    shape = [part for part in target.route.split("/") if part != "{}"]
    if shape[0] == "subscriptions" and "resourcegroups" in shape:
        shape = [*_GROUPS.split("/"), *shape[shape.index("resourcegroups") + 1 :]]
    names = target.names or ((target.group,) if target.group else ())
    listing = (
        method == "GET"
        and not target.route.endswith("{}")
        and (target.namespace or target.group or "resourcegroups" in path.lower())
    )
    known = (names[-1], "/".join(names), target.path) if names else (target.path,)
    return Event("arm", "LIST" if listing else method, "/".join(shape), known, client)


def _files(method: str, path: str, query: dict[str, str], client: str) -> Event:
    kind, comp = query.get("restype", "").lower(), query.get("comp", "").lower()
    clean = unquote(path).strip("/")
    _, _, below = clean.partition("/")
    names = (clean, below, clean.rsplit("/", 1)[-1], clean.split("/", 1)[0])
    shown = _FILES.get((kind, method, comp), f"{method}{kind}{comp}").lower()
    return Event("files", "LIST" if comp == "list" else method, shown, names, client)
