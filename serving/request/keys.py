"""API keys as the gate holds them: found in constant time, limited to models and to an amount of
work, replaced while serving.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from serving.catalogue import (
    EVALUATION_HEADER,
    GATEWAY_KEY,
    KEY_LIMITS_HEADER,
    KEY_NAME_HEADER,
    ApiKey,
    KeyLimits,
    Limits,
)
from serving.request.answers import Answer, refuse
from serving.request.limits import Demand

Header = tuple[bytes, bytes]
_TOLD = re.compile(rb"[A-Za-z0-9._:@/-]{1,100}")  # what a log may show of a name


@dataclass
class Bucket:
    """A token bucket: it holds a minute's worth of requests or tokens and refills evenly, so a
    client that was quiet may use all of it at once. `settle` may overdraw it, when more was used
    than estimated. Where `sharers` processes count the same limit, each has an equal part.
    """

    per_minute: int
    left: float
    seen: float
    sharers: int = 1

    @property
    def most(self) -> float:
        return self.per_minute / self.sharers

    def wait(self, amount: float, now: float) -> float:
        """0 when `amount` is available, else the seconds until it is. More than the bucket can hold
        is available when the bucket is full.
        """
        most = self.most
        self.left = min(most, self.left + (now - self.seen) * most / 60)
        self.seen = now
        missing = min(amount, most) - self.left
        return max(0.0, missing * 60 / most)


@dataclass
class Use:
    """What a key, or the service as a whole, has used of its limits; it outlives a rotation."""

    requests: Bucket | None = None
    tokens: Bucket | None = None
    parallel: int | None = None
    running: int = 0
    sharers: int = 1

    def limit(
        self, requests: int | None, tokens: int | None, parallel: int | None, now: float
    ) -> None:
        self.requests = _same_or_new(self.requests, requests, now)
        self.tokens = _same_or_new(self.tokens, tokens, now)
        self.parallel = parallel
        self.share(self.sharers)

    def share(self, sharers: int) -> None:
        """Set how many processes count these limits, including this one. What is left of a larger
        part is cut when the bucket is next used.
        """
        self.sharers = sharers
        for bucket in (self.requests, self.tokens):
            if bucket is not None:
                bucket.sharers = sharers

    def headers(self, now: float) -> list[Header]:
        """What OpenAI's clients read of limits."""
        found: list[Header] = []
        for name, bucket in ((b"requests", self.requests), (b"tokens", self.tokens)):
            if bucket is not None:
                full = bucket.wait(bucket.per_minute, now)
                for kind, value in (
                    (b"limit", str(bucket.per_minute)),
                    (b"remaining", str(max(0, math.floor(bucket.left * bucket.sharers)))),
                    (b"reset", f"{full:.3f}s"),
                ):
                    found.append((b"x-ratelimit-" + kind + b"-" + name, value.encode()))
        return found


@dataclass(frozen=True)
class Key:
    """`models` is None for a key that may use all of them; `relayed` is a gateway's key."""

    name: str
    sha256: bytes
    models: frozenset[str] | None = None
    admin: bool = False
    evaluation: bool = False
    limits: KeyLimits | None = None
    use: Use = field(default_factory=Use)
    relayed: bool = False


def _behind_gateway(key: Key, headers: Iterable[Header]) -> Key:
    """The gateway's key, with the rights and limits that the gateway reports for its caller's key.
    Only a gateway's key may report them.
    """
    told = [value for name, value in headers if name == KEY_NAME_HEADER.encode()]
    if len(told) == 1 and _TOLD.fullmatch(told[0]):
        key = replace(key, name=f"{key.name}/{told[0].decode()}")
    evaluation = (EVALUATION_HEADER.encode(), b"1") in headers
    given = [value for name, value in headers if name == KEY_LIMITS_HEADER.encode()]
    limits = KeyLimits.of_header(given[0].decode("latin-1")) if len(given) == 1 else None
    return replace(key, evaluation=evaluation, relayed=True, limits=limits)


@dataclass(frozen=True)
class Refusal:
    """Which limit is reached, whether it is the key's or the service's, and the seconds to wait
    (None: waiting does not help).
    """

    whose: str
    limit: str
    wait: float | None

    @property
    def answer(self) -> Answer:
        """429 with `Retry-After`, or 400 where waiting does not help."""
        text = f"{self.whose} may send {self.limit}"
        if self.wait is None:
            text += ", and this request alone counts as more."
            return refuse(400, text, "limit_exceeded")
        text += f"; try again in {self.wait:.1f} s."
        retry = (b"retry-after", str(max(1, math.ceil(self.wait))).encode())
        return refuse(429, text, "rate_limit_exceeded", retry)


class Keys:
    """All keys of a service. `replace` keeps what a client has used of its limits, so that another
    key's change resets nothing.
    """

    def __init__(
        self, keys: Iterable[ApiKey] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._sharers = 1
        self.service = Use()
        self.replace(keys)

    @property
    def names(self) -> list[str]:
        return [key.name for key in self._keys]

    def replace(self, keys: Iterable[ApiKey], limits: Limits | None = None) -> None:
        limits, now = limits or Limits(), self._clock()
        before = {key.name: key.use for key in self._keys}
        self._keys = tuple(self._key(key, before.get(key.name) or Use(), now) for key in keys)
        self.service.limit(
            limits.requests_per_minute, limits.tokens_per_minute, limits.parallel_requests, now
        )

    def share(self, sharers: int) -> None:
        """Set how many processes count the limits of these keys."""
        self._sharers = sharers
        for use in (self.service, *(key.use for key in self._keys)):
            use.share(sharers)

    def find(self, headers: Iterable[Header]) -> Key | None:
        """The key in `Authorization: Bearer` or, as Azure OpenAI's clients send it, in `api-key`;
        None for both, or neither. Every key is compared, in constant time.
        """
        headers = list(headers)
        digest = digest_of(headers)
        found = [key for key in self._keys if hmac.compare_digest(digest, key.sha256)]
        if not found:
            return None
        return _behind_gateway(found[0], headers) if found[0].name == GATEWAY_KEY else found[0]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def take(self, key: Key, order: Demand) -> Refusal | None:
        """Take an order from the key's limits and the service's, or say which of them it exceeds.
        What is taken is given back with `settle`.
        """
        if refusal := self.refusal(key, order):
            return refusal
        for use in (key.use, self.service):
            use.running += order.sequences
            if use.requests:
                use.requests.left -= order.sequences
            if use.tokens:
                use.tokens.left -= order.tokens
        return None

    def refusal(self, key: Key, order: Demand) -> Refusal | None:
        """Which limit the order exceeds; nothing is taken."""
        now = self._clock()
        return _exceeded(f"The key {key.name!r}", key.use, order, now) or _exceeded(
            "The service", self.service, order, now
        )

    def settle(self, key: Key, order: Demand, used: int) -> None:
        """Correct the estimate of a finished order: it used so many tokens."""
        for use in (key.use, self.service):
            use.running -= order.sequences
            if use.tokens:
                use.tokens.left += order.tokens - used

    def charge(self, key: Key) -> None:
        """Count a request that was refused because of its content: judging it was work too."""
        for use in (key.use, self.service):
            if use.requests:
                use.requests.left -= 1

    def headers(self, key: Key) -> list[Header]:
        return key.use.headers(self._clock())

    def _key(self, key: ApiKey, use: Use, now: float) -> Key:
        use.sharers = self._sharers
        use.limit(key.requests_per_minute, key.tokens_per_minute, key.parallel_requests, now)
        models = None if key.models is None else frozenset(key.models)
        sha256 = key.sha256.lower().encode()
        return Key(key.name, sha256, models, key.admin, key.evaluation, key.limits, use)


def digest_of(headers: Iterable[Header]) -> bytes:
    """The digest of the one token in the headers; empty where there is none, or several."""
    tokens: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in tokens:
            return b""
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            tokens[name] = token.strip() if scheme.lower() == b"bearer" else b""
        elif name == b"api-key":
            tokens[name] = value.strip()
    given = set(tokens.values())
    token = given.pop() if len(given) == 1 else b""
    return hashlib.sha256(token).hexdigest().encode() if token else b""


def _exceeded(whose: str, use: Use, order: Demand, now: float) -> Refusal | None:
    """A request for several sequences counts as that many requests."""
    if use.parallel is not None and use.running + order.sequences > use.parallel:
        never = order.sequences > use.parallel
        return Refusal(whose, f"{use.parallel} requests at a time", None if never else 1.0)
    if use.requests:
        text = f"{use.requests.per_minute} requests a minute"
        if order.sequences > use.requests.per_minute:
            return Refusal(whose, text, None)
        if wait := use.requests.wait(order.sequences, now):
            return Refusal(whose, text, wait)
    if use.tokens and (wait := use.tokens.wait(order.tokens, now)):
        return Refusal(whose, f"{use.tokens.per_minute} tokens a minute", wait)
    return None


def _same_or_new(bucket: Bucket | None, per_minute: int | None, now: float) -> Bucket | None:
    if per_minute is None:
        return None
    if bucket is None or bucket.per_minute != per_minute:
        return Bucket(per_minute, per_minute, now)
    return bucket
