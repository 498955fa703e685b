"""A rate limiter that follows Azure's own limits. All workers share it: when Azure tells one of
them to wait, all requests of the same scope wait.

A scope is what Azure counts by: the reads, writes or deletes of a subscription, those of one of its
resource providers, or a storage account. `clients` asks before each request and shows every answer.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from reconciler.api.reasons import Reason
from reconciler.arm.faults import retry_after
from reconciler.engine.errors import Throttled
from reconciler.engine.urgency import is_waited_for

_KINDS = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
_RATE = {"reads": 25.0, "writes": 10.0, "deletes": 10.0}  # what Azure gives back per second
_LOW = 25  # of Azure's 250 or 200: below it, no faster than they come back
_KEPT = 5  # of these, which a resync leaves for requests that a person waits for
_UNTOLD = 2.0  # seconds, when an answer does not say how long
_SOON = 1.0  # wait here up to this; for longer, the worker takes another key
_SUBSCRIPTION = re.compile(r"^/subscriptions/([^/]+)", re.IGNORECASE)
_PROVIDER = re.compile(r"/providers/([^/]+)", re.IGNORECASE)


class Throttle:
    """`clock` in seconds. Call all methods on the thread of the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._closed: dict[str, float] = {}  # until when
        self._spaced: dict[str, float] = {}  # when the next request may go, where few are left
        self._left: dict[str, int] = {}  # how many Azure said are left, without what went since

    async def enter(self, method: str, url: str) -> None:
        """Wait until the request may go, if that is soon.

        Raises:
            Throttled: it is not soon, so the request must not be sent.
        """
        for scope in _scopes(method, url):
            left = self._closed.get(scope, 0.0) - self._clock()
            if left > _SOON:
                message = f"Azure asked to wait with {scope}; they go on in {left:.0f} s."
                raise Throttled(Reason.THROTTLED, message, left)
            if left <= 0:
                self._closed.pop(scope, None)
            pause = max(left, self._turn(scope))
            if pause > 0:
                await asyncio.sleep(pause)

    def saw(self, method: str, url: str, status: int, headers: Mapping[str, str]) -> None:
        """Take over what an answer says about the remaining requests."""
        lower = {name.lower(): value for name, value in headers.items()}
        scopes = list(_scopes(method, url))
        if not scopes:
            return
        if status == 429 or (status == 503 and not _of_arm(url)):
            # The gateway counts for the subscription, a resource provider for itself.
            whole = len(scopes) == 1 or lower.get("x-ms-failure-cause", "").lower() == "gateway"
            until = self._clock() + (retry_after(lower) or _UNTOLD)
            scope = scopes[0 if whole else -1]
            self._closed[scope] = max(until, self._closed.get(scope, 0.0))
        kind = _kind(method)
        left = lower.get(f"x-ms-ratelimit-remaining-subscription-{kind}", "")
        if left.isdigit():
            self._left[scopes[0]] = int(left)
            if int(left) >= _LOW:
                self._spaced.pop(scopes[0], None)
            else:
                self._spaced.setdefault(scopes[0], self._clock())

    def _turn(self, scope: str) -> float:
        """Seconds until a request may go while few are left, and reserve that slot. Requests that a
        person waits for go at once, because a resync must not delay them.
        """
        if (free := self._spaced.get(scope)) is None:
            return 0.0
        if is_waited_for() and self._left.get(scope, 0) > _KEPT:
            self._left[scope] -= 1
            return 0.0
        start = max(free, self._clock())
        self._spaced[scope] = start + 1.0 / _RATE[scope.split(maxsplit=1)[0]]
        return start - self._clock()


def _of_arm(url: str) -> bool:
    return bool(_SUBSCRIPTION.match(urlsplit(url).path))


def _scopes(method: str, url: str) -> Iterator[str]:
    """The widest first; none for a login."""
    found = urlsplit(url)
    if subscription := _SUBSCRIPTION.match(found.path):
        whole = f"{_kind(method)} of subscription {subscription[1].lower()}"
        yield whole
        if provider := _PROVIDER.findall(found.path):
            yield f"{whole} at {provider[-1].lower()}"
    elif "/oauth2/" not in found.path:
        # Azure names an account's host, the local Azure the account in the path.
        account = "" if ".file." in found.netloc else "/" + found.path.split("/")[1]
        yield f"requests to {found.netloc}{account}"


def _kind(method: str) -> str:
    return _KINDS.get(method, "writes")
