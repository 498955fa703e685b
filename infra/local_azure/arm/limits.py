"""The rate-limit headers: token buckets that refill as ARM's do. They only count; nothing is refused for being fast."""

import time

_BUCKETS = {"reads": (1100, 25.0), "writes": (800, 10.0), "deletes": (800, 10.0)}
_KIND = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}


class Limits:
    """What is left of each bucket, globally fifteen times as much."""

    def __init__(self) -> None:
        self._left = {kind: float(size) for kind, (size, _) in _BUCKETS.items()}
        self._seen = dict.fromkeys(_BUCKETS, time.monotonic())

    def headers(self, method: str) -> dict[str, str]:
        """Take one token of the method's bucket and say what remains."""
        kind = _KIND.get(method, "writes")
        size, rate = _BUCKETS[kind]
        now = time.monotonic()
        left = min(float(size), self._left[kind] + (now - self._seen[kind]) * rate)
        self._left[kind], self._seen[kind] = max(0.0, left - 1), now
        used = size - int(self._left[kind])
        return {
            f"x-ms-ratelimit-remaining-subscription-{kind}": str(size - used),
            f"x-ms-ratelimit-remaining-subscription-global-{kind}": str(size * 15 - used),
        }
