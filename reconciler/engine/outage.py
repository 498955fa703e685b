"""Objects whose requests Azure did not answer. One of them asks again every few seconds, and once
it is answered the others need not wait for the end of their backoff. `controller` asks.
"""

from __future__ import annotations

from collections.abc import Collection

from reconciler.api.reasons import AzureCode, Cause, Reason
from reconciler.engine.external import ObjectKey

SCOUT_EVERY = 10.0  # seconds
# With these Azure answers nobody, not only this object.
OUTAGE = frozenset(
    {Reason.AZURE_UNREACHABLE, Reason.LOGIN_UNREACHABLE, AzureCode("ServiceUnavailable")}
)


class Outage:
    """During an outage one object, the scout, retries every `SCOUT_EVERY` seconds, and all others
    keep their backoff. So an outage costs Azure one more request per `SCOUT_EVERY` seconds, however
    many objects wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[ObjectKey, None] = {}
        self._scout: ObjectKey | None = None

    def saw(
        self, key: ObjectKey, reason: Cause | None, *, asked: bool = True
    ) -> Collection[ObjectKey]:
        """Take note of the outcome of a pass; without `asked` it asked Azure nothing, because it
        waits for another object. Returns the objects to look at now.
        """
        if reason in OUTAGE:
            self._waiting[key] = None
            self._scout = self._scout or key
            return ()
        self._waiting.pop(key, None)
        if key != self._scout:
            return ()
        if asked:
            self._scout = None
            return tuple(self._waiting)
        # Another one asks in its place.
        self._scout = next(iter(self._waiting), None)
        return () if self._scout is None else (self._scout,)

    def delay(self, key: ObjectKey, delay: float) -> float:
        """The seconds until `key` asks again, of the `delay` that its backoff sets."""
        return min(delay, SCOUT_EVERY) if key == self._scout else delay
