"""How long a failing key waits: exponential per key, and one token bucket for all keys together.
`controller` asks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.engine.external import ObjectKey

Clock = Callable[[], float]


@dataclass
class TokenBucket:
    """At most `burst` retries at once and `rate` per second in the long run."""

    rate: float = 10.0
    burst: int = 100
    clock: Clock = time.monotonic
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._at = float(self.burst), self.clock()

    def reserve(self) -> float:
        """Take one token. Returns the seconds until it is available: the bucket may go below zero,
        so that callers are served in order.
        """
        now = self.clock()
        self._tokens = min(float(self.burst), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self.rate)


@dataclass
class Backoff:
    """`delay` doubles from `base` to `cap` seconds with every failure of a key, with `jitter` (a
    fraction, downwards, so that the cap holds); `forget` after a success, or when the outcome
    itself says when to come back.
    """

    base: float = 0.5
    cap: float = 120.0
    jitter: float = 0.2
    bucket: TokenBucket = field(default_factory=TokenBucket)
    random: Callable[[], float] = random.random
    _failures: dict[ObjectKey, int] = field(default_factory=dict)

    def delay(self, key: ObjectKey) -> float:
        """Count one more failure of `key`; the seconds to wait before it is tried again."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded so that a key failing for days cannot overflow a float.
        exponential = min(self.cap, self.base * 2.0 ** min(failures, 60))
        return max(exponential * (1.0 - self.jitter * self.random()), self.bucket.reserve())

    def forget(self, key: ObjectKey) -> None:
        self._failures.pop(key, None)

    def failures(self, key: ObjectKey) -> int:
        return self._failures.get(key, 0)
