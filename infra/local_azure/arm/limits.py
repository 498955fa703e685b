"""Request limits: Azure's token buckets per caller and kind of request, and the count that
Microsoft.App keeps of its writes.

The fast pace shortens operations and refills the buckets by the same factor, so a client that Azure
would not throttle is not throttled here.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import GATEWAY, ArmError

_KIND = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
_GLOBAL = 15  # the limit of a subscription is that many times the limit of one caller
_APP_WRITES = {
    "microsoft.app/managedenvironments": 100,
    "microsoft.app/containerapps": 700,
    "microsoft.app/jobs": 700,
}
APP_INTERVAL_S = 300.0
_MOST_CALLERS = 1000


@dataclass(frozen=True)
class Bucket:
    """A token bucket: it holds `size` requests and refills by `rate` requests a second."""

    size: int
    rate: float


@dataclass(frozen=True)
class Buckets:
    """Azure's own by default."""

    reads: Bucket = Bucket(250, 25)
    writes: Bucket = Bucket(200, 10)
    deletes: Bucket = Bucket(200, 10)

    def faster(self, speed: float) -> "Buckets":
        return Buckets(
            *(
                Bucket(each.size, each.rate * speed)
                for each in (self.reads, self.writes, self.deletes)
            )
        )

    def of(self, kind: str) -> Bucket:
        found: Bucket = getattr(self, kind)
        return found


OFF = Buckets(*[Bucket(10**9, 1e9)] * 3)


@dataclass
class _Level:
    """What is left in a bucket, and when that was computed."""

    left: float
    seen: float = field(default_factory=time.monotonic)

    def take(self, bucket: Bucket, size: int) -> bool:
        now = time.monotonic()
        self.left = min(
            float(size), self.left + (now - self.seen) * bucket.rate * size / bucket.size
        )
        self.seen = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Limits:
    """Counts requests, and refuses those that find their bucket empty."""

    def __init__(self, buckets: Buckets, app_interval_s: float = APP_INTERVAL_S) -> None:
        self._buckets = buckets
        self._app_interval = app_interval_s
        self._levels: dict[tuple[str, str], _Level] = {}
        self._app_writes: dict[str, list[float]] = {}

    def take(self, method: str, principal: str, subscription: str) -> None:
        """Take one token of the caller's bucket. ArmError 429 when there is none."""
        kind = _KIND.get(method, "writes")
        bucket = self._buckets.of(kind)
        if len(self._levels) > _MOST_CALLERS:
            self._levels.clear()
        for whose, size in (("", bucket.size * _GLOBAL), (principal, bucket.size)):
            level = self._levels.setdefault((whose, kind), _Level(float(size)))
            if not level.take(bucket, size):
                wait = max(1, round((1 - level.left) * bucket.size / (bucket.rate * size) + 0.5))
                text = (
                    f"Number of '{kind[:-1]}' requests for subscription '{subscription}' actor"
                    f" '{principal}' exceeded."
                )
                text += f" Please try again after '{wait}' seconds."
                headers = {"Retry-After": str(wait), **GATEWAY}
                raise ArmError(429, "SubscriptionRequestsThrottled", text, headers=headers)

    def headers(self, method: str, principal: str) -> Mapping[str, str]:
        """The headers with what is left for the caller and for all callers."""
        kind = _KIND.get(method, "writes")
        size = self._buckets.of(kind).size
        mine, every = self._levels.get((principal, kind)), self._levels.get(("", kind))
        return {
            f"x-ms-ratelimit-remaining-subscription-{kind}": str(int(mine.left) if mine else size),
            f"x-ms-ratelimit-remaining-subscription-global-{kind}": str(
                int(every.left) if every else size * _GLOBAL
            ),
        }

    def app_write(self, kind: str, action: str) -> dict[str, str]:
        """Count a write that Microsoft.App limits itself; its header, or ArmError 429 with the
        provider's own code.
        """
        most = _APP_WRITES.get(kind)
        if most is None:
            return {}
        now = time.monotonic()
        recent = self._app_writes[kind] = [
            at for at in self._app_writes.get(kind, []) if now - at < self._app_interval
        ]
        if len(recent) >= most:
            wait = max(1, round(self._app_interval - (now - recent[0]) + 0.5))
            text = (
                f"Number of requests for action '{action}' exceeded the limit of '{most}' for time"
                f" interval '{time.strftime('%H:%M:%S', time.gmtime(self._app_interval))}'. Please"
                f" try again after '{wait}' seconds."
            )
            raise ArmError(
                429, "ResourceRequestsThrottled", text, headers={"Retry-After": str(wait)}
            )
        recent.append(now)
        return {"x-ms-ratelimit-remaining-subscription-resource-requests": str(most - len(recent))}
