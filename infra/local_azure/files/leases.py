"""Share leases: one holder at a time, 15 to 60 seconds or for ever. Kept in the store, so they outlive a restart.

States as Azure names them: available, leased, breaking, broken, expired.
"""

import json
import re
import uuid
from dataclasses import asdict, dataclass

from infra.local_azure import clock
from infra.local_azure.store import Store

from .errors import FilesError

GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass
class Lease:
    """`until` 0 means for ever; `broken` is the instant from which a break holds (0: not breaking)."""

    id: str
    duration: int
    until: float
    broken: float = 0.0

    def state(self) -> str:
        now = clock.now()
        if self.broken:
            return "breaking" if self.broken > now else "broken"
        return "leased" if not self.until or self.until > now else "expired"


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
    shown = {"leaseStatus": "locked" if state in {"leased", "breaking"} else "unlocked", "leaseState": state}
    return {**shown, "leaseDuration": "infinite" if lease.duration < 0 else "fixed"} if state == "leased" else shown


def acquire(store: Store, key: str, duration: int, proposed: str | None) -> Lease:
    if duration != -1 and not 15 <= duration <= 60:
        raise FilesError(400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format.")
    held = active(store, key)
    if held and held.state() == "breaking":
        raise FilesError(
            409, "LeaseIsBreakingAndCannotBeAcquired", "The lease is breaking and cannot be acquired until it is broken."
        )
    if held and held.id != (proposed or "").lower():
        raise FilesError(409, "LeaseAlreadyPresent", "There is already a lease present.")
    identifier = _guid(proposed) if proposed else str(uuid.uuid4())
    return _save(store, key, Lease(identifier, duration, 0.0 if duration < 0 else clock.now() + duration))


def renew(store: Store, key: str, identifier: str) -> Lease:
    """An expired lease can be renewed as long as nobody else took one."""
    lease = _held(store, key, identifier)
    if lease.broken:
        raise FilesError(
            409, "LeaseIsBrokenAndCannotBeRenewed", "The lease ID matched, but the lease has been broken explicitly."
        )
    lease.until = 0.0 if lease.duration < 0 else clock.now() + lease.duration
    return _save(store, key, lease)


def change(store: Store, key: str, identifier: str, proposed: str) -> Lease:
    lease = _load(store, key)
    if lease is None or lease.state() not in {"leased", "breaking"}:
        raise FilesError(409, "LeaseNotPresentWithLeaseOperation", "There is currently no lease on the resource.")
    if lease.broken:
        raise FilesError(
            409, "LeaseIsBreakingAndCannotBeChanged", "The lease ID matched, but the lease is currently in breaking state."
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
        raise FilesError(409, "LeaseNotPresentWithLeaseOperation", "There is currently no lease on the resource.")
    now = clock.now()
    if not lease.broken:
        left = max(0.0, lease.until - now) if lease.until else 0.0
        wait = left if period is None else (min(float(period), left) if lease.until else float(period))
        lease.broken = now + wait
        _save(store, key, lease)
    return max(0, round(lease.broken - now))


def forget(store: Store, key: str) -> None:
    store.keep(f"lease:{key}", None)


def require(store: Store, key: str, identifier: str | None) -> None:
    """Refuse an operation on a leased share that does not carry the lease's id."""
    lease = active(store, key)
    if lease is None:
        if identifier:
            raise FilesError(412, "LeaseNotPresentWithFileOperation", "There is currently no lease on the resource.")
        return
    if not identifier:
        raise FilesError(
            412, "LeaseIdMissing", "There is currently a lease on the resource and no lease ID was specified in the request."
        )
    if identifier.lower() != lease.id:
        raise FilesError(
            412, "LeaseIdMismatchWithFileOperation", "The lease ID specified did not match the lease ID for the resource."
        )


def _held(store: Store, key: str, identifier: str) -> Lease:
    lease = _load(store, key)
    if lease is None:
        raise FilesError(409, "LeaseNotPresentWithLeaseOperation", "There is currently no lease on the resource.")
    if lease.id != identifier.lower():
        raise _mismatch()
    return lease


def _mismatch() -> FilesError:
    return FilesError(
        409, "LeaseIdMismatchWithLeaseOperation", "The lease ID specified did not match the lease ID for the resource."
    )


def _guid(text: str) -> str:
    if not GUID.fullmatch(text):
        raise FilesError(400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format.")
    return text.lower()


def _load(store: Store, key: str) -> Lease | None:
    text = store.read(f"lease:{key}")
    return Lease(**json.loads(text)) if text else None


def _save(store: Store, key: str, lease: Lease) -> Lease:
    store.keep(f"lease:{key}", json.dumps(asdict(lease)))
    return lease
