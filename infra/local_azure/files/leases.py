"""Leases of shares (15 to 60 seconds or without an end) and of files (without an end), one holder
at a time. Kept in the store.

States as Azure names them: available, leased, breaking, broken, expired.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from infra.local_azure import clock
from infra.local_azure.store import Store

from .answer import FilesAnswer
from .errors import FilesError, bad_header

GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass
class Lease:
    """`until` 0 means without an end; `broken` is the time from which a break holds (0: not
    breaking).
    """

    id: str
    duration: int
    until: float
    broken: float = 0.0

    def state(self) -> str:
        now = clock.now()
        if self.broken:
            return "breaking" if self.broken > now else "broken"
        return "leased" if not self.until or self.until > now else "expired"


def answer(
    store: Store,
    key: str,
    sent: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    file: bool = False,
) -> FilesAnswer:
    """acquire, renew, change, release, break, as the request's headers say."""
    action, identifier = sent.get("x-ms-lease-action", "").lower(), sent.get("x-ms-lease-id", "")
    if action not in {"acquire", "break"} and not GUID.fullmatch(identifier):
        raise bad_header("x-ms-lease-id")
    if action == "acquire":
        duration = _seconds(sent, "x-ms-lease-duration")
        # A lease of a file has no end; one of a share may have.
        if file and duration != -1:
            raise bad_header("x-ms-lease-duration")
        held = acquire(
            store, key, -1 if duration is None else duration, sent.get("x-ms-proposed-lease-id")
        )
        return FilesAnswer(201, {**headers, "x-ms-lease-id": held.id})
    if action == "renew" and not file:
        return FilesAnswer(200, {**headers, "x-ms-lease-id": renew(store, key, identifier).id})
    if action == "change":
        proposed = sent.get("x-ms-proposed-lease-id", "")
        return FilesAnswer(
            200, {**headers, "x-ms-lease-id": change(store, key, identifier, proposed).id}
        )
    if action == "release":
        release(store, key, identifier)
        return FilesAnswer(200, headers)
    if action == "break":
        # A lease of a file ends at once when it is broken.
        period = 0 if file else _seconds(sent, "x-ms-lease-break-period")
        if period is not None and not 0 <= period <= 60:
            raise bad_header("x-ms-lease-break-period")
        left = break_(store, key, period)
        return FilesAnswer(202, {**headers, "x-ms-lease-time": str(left)})
    raise bad_header("x-ms-lease-action")


def _seconds(sent: Mapping[str, str], name: str) -> int | None:
    text = sent.get(name)
    if text is None:
        return None
    if not text.lstrip("-").isdigit():
        raise bad_header(name)
    return int(text)


def active(store: Store, key: str) -> Lease | None:
    """The lease that still binds a share."""
    lease = _load(store, key)
    return lease if lease and lease.state() in {"leased", "breaking"} else None


def describe(store: Store, key: str) -> dict[str, str]:
    """leaseStatus, leaseState and, while leased, leaseDuration, in ARM's names."""
    lease = _load(store, key)
    if lease is None:
        return {"leaseStatus": "unlocked", "leaseState": "available"}
    state = lease.state()
    shown = {
        "leaseStatus": "locked" if state in {"leased", "breaking"} else "unlocked",
        "leaseState": state,
    }
    return (
        {**shown, "leaseDuration": "infinite" if lease.duration < 0 else "fixed"}
        if state == "leased"
        else shown
    )


def acquire(store: Store, key: str, duration: int, proposed: str | None) -> Lease:
    if duration != -1 and not 15 <= duration <= 60:
        raise FilesError(
            400,
            "InvalidHeaderValue",
            "The value for one of the HTTP headers is not in the correct format.",
        )
    held = active(store, key)
    if held and held.state() == "breaking":
        raise FilesError(
            409,
            "LeaseIsBreakingAndCannotBeAcquired",
            "The lease is breaking and cannot be acquired until it is broken.",
        )
    if held and held.id != (proposed or "").lower():
        raise FilesError(409, "LeaseAlreadyPresent", "There is already a lease present.")
    identifier = _guid(proposed) if proposed else str(uuid.uuid4())
    return _save(
        store, key, Lease(identifier, duration, 0.0 if duration < 0 else clock.now() + duration)
    )


def renew(store: Store, key: str, identifier: str) -> Lease:
    """An expired lease can be renewed until another client has taken one."""
    lease = _held(store, key, identifier)
    if lease.broken:
        raise FilesError(
            409,
            "LeaseIsBrokenAndCannotBeRenewed",
            "The lease ID matched, but the lease has been broken explicitly.",
        )
    lease.until = 0.0 if lease.duration < 0 else clock.now() + lease.duration
    return _save(store, key, lease)


def change(store: Store, key: str, identifier: str, proposed: str) -> Lease:
    lease = _load(store, key)
    if lease is None or lease.state() not in {"leased", "breaking"}:
        raise FilesError(
            409, "LeaseNotPresentWithLeaseOperation", "There is currently no lease on the resource."
        )
    if lease.broken:
        raise FilesError(
            409,
            "LeaseIsBreakingAndCannotBeChanged",
            "The lease ID matched, but the lease is currently in breaking state.",
        )
    if lease.id not in {identifier.lower(), _guid(proposed)}:
        raise _mismatch()
    lease.id = _guid(proposed)
    return _save(store, key, lease)


def release(store: Store, key: str, identifier: str) -> None:
    _held(store, key, identifier)
    forget(store, key)


def break_(store: Store, key: str, period: int | None) -> int:
    """Seconds until the break holds; a fixed lease may also run out by itself."""
    lease = _load(store, key)
    if lease is None:
        raise FilesError(
            409, "LeaseNotPresentWithLeaseOperation", "There is currently no lease on the resource."
        )
    now = clock.now()
    if not lease.broken:
        left = max(0.0, lease.until - now) if lease.until else 0.0
        wait = (
            left if period is None else (min(float(period), left) if lease.until else float(period))
        )
        lease.broken = now + wait
    elif period is not None:
        lease.broken = min(lease.broken, now + period)
    _save(store, key, lease)
    return max(0, round(lease.broken - now))


def shown(store: Store, key: str) -> dict[str, str]:
    """The lease headers of a GET."""
    names = {
        "leaseStatus": "x-ms-lease-status",
        "leaseState": "x-ms-lease-state",
        "leaseDuration": "x-ms-lease-duration",
    }
    return {names[name]: value for name, value in describe(store, key).items()}


def forget(store: Store, key: str) -> None:
    store.keep(f"lease:{key}", None)


def require(store: Store, key: str, identifier: str | None) -> None:
    """Refuse an operation on a leased share that does not carry the lease's id."""
    lease = active(store, key)
    if lease is None:
        if identifier:
            raise FilesError(
                412,
                "LeaseNotPresentWithFileOperation",
                "There is currently no lease on the resource.",
            )
        return
    if not identifier:
        raise FilesError(
            412,
            "LeaseIdMissing",
            "There is currently a lease on the resource and no lease ID was specified in the"
            " request.",
        )
    if identifier.lower() != lease.id:
        raise FilesError(
            412,
            "LeaseIdMismatchWithFileOperation",
            "The lease ID specified did not match the lease ID for the resource.",
        )


def _held(store: Store, key: str, identifier: str) -> Lease:
    lease = _load(store, key)
    if lease is None:
        raise FilesError(
            409, "LeaseNotPresentWithLeaseOperation", "There is currently no lease on the resource."
        )
    if lease.id != identifier.lower():
        raise _mismatch()
    return lease


def _mismatch() -> FilesError:
    return FilesError(
        409,
        "LeaseIdMismatchWithLeaseOperation",
        "The lease ID specified did not match the lease ID for the resource.",
    )


def _guid(text: str) -> str:
    if not GUID.fullmatch(text):
        raise FilesError(
            400,
            "InvalidHeaderValue",
            "The value for one of the HTTP headers is not in the correct format.",
        )
    return text.lower()


def _load(store: Store, key: str) -> Lease | None:
    text = store.read(f"lease:{key}")
    return Lease(**json.loads(text)) if text else None


def _save(store: Store, key: str, lease: Lease) -> Lease:
    store.keep(f"lease:{key}", json.dumps(asdict(lease)))
    return lease
