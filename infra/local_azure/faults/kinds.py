"""The one table of faults: where each can happen, what it takes and what it does. Read by `script`
and `commands`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WRITES = frozenset({"PUT", "PATCH", "POST", "DELETE"})
ANY: frozenset[str] = frozenset()
_LISTS = frozenset({"LIST"})


@dataclass(frozen=True)
class Kind:
    """`takes` maps the parameters of the fault to their defaults; `methods` are the only ones it
    can happen to (none: all).
    """

    planes: tuple[str, ...]
    does: str
    takes: Mapping[str, Any] = field(default_factory=dict)
    methods: frozenset[str] = ANY


_SERVED = ("arm", "files", "login")
_HTTP = (*_SERVED, "ingress")
_TOLD = {"code": "", "message": ""}
_LATE = {"seconds": 0.0, **_TOLD}

KINDS: Mapping[str, Kind] = {
    # Answers instead of the real one.
    "Throttle": Kind(
        _HTTP,
        "429 (Files: 503 ServerBusy), with Retry-After if retryAfter is given",
        {"retryAfter": 0, **_TOLD},
    ),
    "Error": Kind(
        _HTTP, "the given status, with an error body of the plane", {"status": 500, **_TOLD}
    ),
    "Conflict": Kind(("arm", "files"), "409: another operation is in progress", _TOLD),
    "ExpiredToken": Kind(("arm", "files"), "401: the access token has expired"),
    "Forbidden": Kind(("arm", "files"), "403 AuthorizationFailed: a role is missing", {}),
    "PolicyDenied": Kind(
        ("arm",),
        "403 RequestDisallowedByPolicy",
        {"policy": "deny-by-fault"},
        frozenset({"PUT", "PATCH"}),
    ),
    # What happens to the connection.
    "ResetBefore": Kind(_HTTP, "the connection is reset and the request has no effect"),
    "ResetAfter": Kind(
        _HTTP, "the request takes effect, and the connection is reset instead of an answer"
    ),
    "Slow": Kind(_HTTP, "the answer comes `seconds` late", {"seconds": 5.0}),
    # How a long-running operation ends.
    "OperationSlow": Kind(
        ("arm",), "it runs `seconds` longer and then succeeds", {"seconds": 5.0}, WRITES
    ),
    "OperationFails": Kind(
        ("arm",), "it runs `seconds` longer and ends Failed; the change is not made", _LATE, WRITES
    ),
    "OperationCanceled": Kind(
        ("arm",),
        "it runs `seconds` longer and ends Canceled; the change is not made",
        _LATE,
        WRITES,
    ),
    "OperationHangs": Kind(
        ("arm",),
        "InProgress for `seconds`, then Failed: Operation expired",
        {"seconds": 900.0},
        WRITES,
    ),
    "OperationDeceives": Kind(
        ("arm",), "it ends Succeeded, but the changed resource is Failed", _LATE, WRITES
    ),
    "NoCapacity": Kind(
        ("arm",),
        "an environment's creation ends Failed: the region has no capacity",
        {"seconds": 0.0},
        WRITES,
    ),
    # Something in Azure changes by itself.
    "StaleList": Kind(
        ("arm", "files"),
        "a list misses changes of the last `seconds`",
        {"seconds": 5.0},
        _LISTS,
    ),
    "EnvironmentFails": Kind(
        ("arm",),
        "after the request the environment is Failed, until a PATCH that changes nothing",
        {},
    ),
    "RotateKey": Kind(
        _SERVED, "before the request the account's key is regenerated", {"key": "key1"}
    ),
    # The share.
    "ShareFull": Kind(
        ("files",),
        "403 ShareSizeLimitReached on every write that needs space",
        {},
        frozenset({"PUT"}),
    ),
    "ShareUnreachable": Kind(
        ("files", "mount"), "requests are reset; new mounts fail with mount error(112)"
    ),
    "StaleMountKey": Kind(
        ("mount",),
        "a storage whose key was changed in place cannot be mounted again: mount error(13)",
    ),
    "ShareSlow": Kind(
        ("mount",),
        "each open file of a new mount is read at `bytesPerSecond`, with `--share-view smb`",
        {"bytesPerSecond": 60_000_000.0},
    ),
    "TornRead": Kind(
        ("files",),
        "the second half of what is read is zeros, as while a file is being written",
        {},
        frozenset({"GET"}),
    ),
    # Replicas.
    "ReplicaCrashes": Kind(("runtime",), "the container dies after each start"),
    "ReplicaHangs": Kind(
        ("runtime",), "the process is stopped (SIGSTOP): it runs and answers nothing"
    ),
    "ReplicaNeverReady": Kind(("runtime",), "its probes fail"),
    "ReplicaKilled": Kind(("runtime",), "one running replica is killed"),
    "NoGpuQuota": Kind(
        ("runtime",), "every GPU quota is 0: new replicas stay unplaced (AssigningReplica)"
    ),
}

PLANES = (*_HTTP, "mount", "runtime")
REFUSALS = frozenset(
    {"Throttle", "Error", "Conflict", "ExpiredToken", "Forbidden", "PolicyDenied", "ShareFull"}
)
CONNECTION = frozenset({"ResetBefore", "ResetAfter", "ShareUnreachable", "Slow"})
OPERATIONS = frozenset(
    {
        "OperationSlow",
        "OperationFails",
        "OperationCanceled",
        "OperationHangs",
        "OperationDeceives",
        "NoCapacity",
    }
)
