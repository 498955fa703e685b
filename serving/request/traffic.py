"""One Call for each request on its way through vLLM, and the split of a name's requests between two
versions.

Pure; gate.py makes calls and ends them, engine.py notes in them what vLLM chose and produced,
metrics.py counts them.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

SERVER_ERROR = 500
LONGEST_WAIT = 86_400.0  # seconds that a report can hold
NEWEST = 100  # requests of which the time until the first token is kept


@dataclass
class Traffic:
    """Counts of what was answered: by one version since it was loaded, or by a server since it
    started. The newest `NEWEST` times until the first token are kept.
    """

    requests: int = 0
    errors: int = 0
    _waits: deque[float] = field(default_factory=lambda: deque(maxlen=NEWEST))

    def saw(self, *, failed: bool, first_token: float | None) -> None:
        """A request is over."""
        self.requests += 1
        self.errors += failed
        if first_token is not None:
            self._waits.append(first_token)

    def report(self) -> dict[str, Any]:
        """The fields of a `catalogue.TrafficReport`."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "first_tokens": _first_tokens(sorted(self._waits)),
        }


class Pinned(Protocol):
    """A version that a request runs on: it is not unloaded while `pins` is above zero."""

    name: str
    digest: str
    pins: int
    traffic: Traffic


@dataclass(slots=True, eq=False)
class Call:
    """One request. Calls with the same `sticky` text always get the same version. `models` are
    those that the key may use (None: all).
    """

    key: str
    id: str = ""
    sticky: str = ""
    models: frozenset[str] | None = None
    prompt_limit: int | None = None
    output_limit: int | None = None
    prompt_logprobs: bool = False
    structured: bool = False
    on_engine: Callable[[], None] = lambda: None
    on_first_token: Callable[[], None] = lambda: None
    on_end: list[Callable[[], None]] = field(default_factory=list)
    route: str = ""
    model: str = ""
    version: Pinned | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: bool = False
    status: int = 0
    clock: Callable[[], float] = time.monotonic
    began: float = 0.0
    first_token: float | None = None
    _dice: float = field(default_factory=random.random)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def draws(self, name: str) -> float:
        """A number from 0 to below 100 that decides which version of `name` the call gets. It stays
        the same for the call; a sticky call has the same number on every replica.
        """
        return 100 * (position(name, self.sticky) if self.sticky else self._dice)

    def pin(self, version: Pinned) -> None:
        if self.version is None:
            self.version = version
            version.pins += 1

    def started(self) -> None:
        """The first token is there."""
        if self.first_token is None:
            self.first_token = self.clock() - self.began
            self.on_first_token()

    def produced(self, tokens: int) -> None:
        self.started()
        self.completion_tokens += tokens

    def end(self) -> None:
        """Release the version and count the call for it."""
        for each in self.on_end:
            each()
        self.failed = self.failed or self.status >= SERVER_ERROR
        if self.version is not None:
            self.version.pins -= 1
            self.version.traffic.saw(failed=self.failed, first_token=self.first_token)

    def line(self) -> dict[str, Any]:
        """The request log's line, without the prompt and the answer."""
        return {
            "id": self.id,
            "key": self.key,
            "model": self.model or None,
            "version": self.version.digest[:12] if self.version else None,
            "status": self.status,
            "failed": self.failed,
            "promptTokens": self.prompt_tokens,
            "completionTokens": self.completion_tokens,
            "firstTokenSeconds": None if self.first_token is None else round(self.first_token, 4),
            "seconds": round(self.clock() - self.began, 4),
        }


def _first_tokens(waits: Sequence[float]) -> dict[str, Any] | None:
    """The fields of `FirstTokens`, of sorted seconds; None where nothing was produced."""
    if not waits:
        return None
    last = len(waits) - 1
    return {
        "count": len(waits),
        "median": _seconds(waits[last // 2]),
        "p95": _seconds(waits[last * 95 // 100]),
    }


def _seconds(value: float) -> float:
    return round(min(value, LONGEST_WAIT), 3)


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)


def position(name: str, sticky: str) -> float:
    """A number from 0 to below 1, derived from both alone: evenly spread over users, and
    independent for each name.
    """
    return int.from_bytes(hashlib.sha256(f"{name}\0{sticky}".encode()).digest()[:6], "big") / (
        1 << 48
    )
