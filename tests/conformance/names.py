"""What the recording calls something and what it is called here: the subscription, hosts, operation
URLs, generated names.
"""

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

from . import fields
from .recordings import MANAGEMENT, Exchange

LRO = ("azure-asyncoperation", "location")
_LEARNED = {"latestRevisionName", "revisionName"}
_GENERATED = re.compile(r"/(revisions|replicas|executions)(/[^/]+)?$", re.IGNORECASE)


class Names:
    """Learns from each pair of answers, translates each later request and answer."""

    def __init__(self, subscription: str, here: str, endpoint: str) -> None:
        self._words = {subscription: here, f"https://{MANAGEMENT}": endpoint}
        self._endpoint = endpoint
        self._polls: dict[str, str] = {}
        self._snapshot = ""

    def headers(self, exchange: Exchange) -> dict[str, str]:
        """What the recorder did not keep: which snapshot was meant."""
        return {"x-ms-snapshot": self._snapshot} if exchange.snapshot and self._snapshot else {}

    def translate(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.translate(key): self.translate(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.translate(inner) for inner in value]
        if isinstance(value, str):
            for recorded in sorted(self._words, key=len, reverse=True):
                value = value.replace(recorded, self._words[recorded])
        return value

    def url(self, exchange: Exchange) -> str:
        """Where to send a request: a poll goes to the URL that was answered here for the one polled
        there.
        """
        return self._polls.get(_place(exchange.url)) or str(self.translate(exchange.url))

    def polled(self, exchange: Exchange) -> bool:
        return _place(exchange.url) in self._polls

    def learn(self, exchange: Exchange, headers: dict[str, str], body: Any) -> None:
        """Pair the operation URLs of two answers, and the names that each side made up."""
        for name in LRO:
            if name in exchange.headers and name in headers:
                where = urljoin(self._endpoint, headers[name])  # Azure gives some as a path
                self._polls[_place(exchange.headers[name])] = where
        self.pair(exchange.body, body)

    def pair(self, recorded: Any, local: Any) -> None:
        """Learn the names that each side made up; a name that is known teaches nothing new."""
        if isinstance(recorded, dict) and isinstance(local, dict):
            for name in recorded.keys() & local.keys():
                if name == "snapshotTime":
                    self._snapshot = str(local[name])
                elif name in _LEARNED or (name == "version" and recorded.get("deleted")):
                    self._word(recorded[name], local[name])
                elif name == "name" and _GENERATED.search(
                    str(recorded.get("type") or recorded.get("id"))
                ):
                    self._word(recorded[name], local[name], again=True)
                else:
                    self.pair(recorded[name], local[name])
        elif isinstance(recorded, list) and isinstance(local, list):
            for left, right in fields.pair([self.translate(entry) for entry in recorded], local):
                original = next(
                    (entry for entry in recorded if self.translate(entry) == left), None
                )
                self.pair(original, right)

    def _word(self, recorded: Any, local: Any, *, again: bool = False) -> None:
        """Each name stands for one of the other side, so that what lags behind teaches nothing;
        `again` where Azure replaced one.
        """
        if (
            not isinstance(recorded, str)
            or not isinstance(local, str)
            or len(recorded) < 6
            or not local
        ):
            return
        if (
            recorded not in self._words
            and (again or local not in self._words.values())
            and self.translate(recorded) != local
        ):
            self._words[recorded] = local


def _place(url: str) -> str:
    parts = urlsplit(url)
    return parts.path.lower()
