"""API keys as the gate holds them: found in constant time, limited to models and to requests a
minute, replaced while serving.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from serving.catalogue import ApiKey


@dataclass
class Bucket:
    """A minute's worth of requests, refilled evenly; a client that was quiet may use them all at
    once.
    """

    per_minute: int
    left: float
    seen: float

    def take(self, now: float) -> float:
        """0 when a request may go on, else the seconds until one may."""
        self.left = min(self.per_minute, self.left + (now - self.seen) * self.per_minute / 60)
        self.seen = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) * 60 / self.per_minute


@dataclass(frozen=True)
class Key:
    """`models` is None for a key that may use all of them."""

    name: str
    sha256: bytes
    models: frozenset[str] | None = None
    admin: bool = False
    bucket: Bucket | None = None


class Keys:
    """All keys of a service. `replace` keeps what a client has used of its limit, so that another
    key's change resets nothing.
    """

    def __init__(
        self, keys: Iterable[ApiKey] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self.replace(keys)

    @property
    def names(self) -> list[str]:
        return [key.name for key in self._keys]

    def replace(self, keys: Iterable[ApiKey]) -> None:
        before = {key.name: key.bucket for key in self._keys}
        self._keys = tuple(self._key(key, before.get(key.name)) for key in keys)

    def find(self, headers: Iterable[tuple[bytes, bytes]]) -> Key | None:
        """The key in `Authorization: Bearer`, or None. Every key is compared, in constant time."""
        given = [value for name, value in headers if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        digest = hashlib.sha256(token.strip()).hexdigest().encode()
        found = [key for key in self._keys if hmac.compare_digest(digest, key.sha256)]
        return found[0] if found and scheme.lower() == b"bearer" else None

    def wait(self, key: Key) -> float:
        """Seconds until `key` may send another request; 0 takes one from its limit."""
        return key.bucket.take(self._clock()) if key.bucket else 0.0

    def _key(self, key: ApiKey, bucket: Bucket | None) -> Key:
        limit = key.requests_per_minute
        if limit is None:
            bucket = None
        elif bucket is None or bucket.per_minute != limit:
            bucket = Bucket(limit, limit, self._clock())
        models = None if key.models is None else frozenset(key.models)
        return Key(key.name, key.sha256.lower().encode(), models, key.admin, bucket)
