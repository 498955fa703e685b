"""Sends notices to the address that a person gave: one when an occasion begins, one when it is
over. A notice that could not be sent is sent later, with the same id.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from reconciler.api.reasons import Reason
from reconciler.edges.edge import Edge
from reconciler.engine.errors import RetryableError
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import Store
from reconciler.web.notices import (
    Notice,
    Occasion,
    card,
    cloud_event,
    keep_sent,
    notices_of,
    plain,
    sent_notices,
    sentence,
)
from reconciler.web.signatures import ID, SIGNATURE, TIMESTAMP, MessageSignature

EVERY = 2.0  # seconds between looks at the store
SETTLED = 60.0  # seconds for which an occasion must be over before a notice says so
PATIENCE = aiohttp.ClientTimeout(total=15)
REFUSALS = 3  # notices that the receiver may refuse before the others wait for the next try


@dataclass(frozen=True)
class Receiver:
    """`form` is `cloudevents`, `webhook` or `teams`; the address may hold a secret and is never
    shown.
    """

    url: str
    form: str
    token: str
    occasions: frozenset[Occasion]
    key: bytes | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    async def send(self, notice: Notice, source: str, target: str, now: datetime) -> None:
        """Raises NoticeNotSentError when the receiver does not take it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body: dict[str, Any]
        if self.form == "cloudevents":
            body = cloud_event(notice, source, now)
            headers["Content-Type"] = "application/cloudevents+json"
        elif self.form == "teams":
            body = card(notice, target)
            headers["Content-Type"] = "application/json"
        else:
            body = {"text": sentence(notice, target), "id": notice.id, **plain(notice)}
            headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
        headers |= self._signed(notice, now, data)
        try:
            async with (
                aiohttp.ClientSession(timeout=PATIENCE) as session,
                session.post(self.url, data=data, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status >= 300:
                    raise NoticeRefusedError(f"{self.host} answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoticeNotSentError(f"{self.host} {_fault(error)}") from None

    def _signed(self, notice: Notice, now: datetime, data: bytes) -> dict[str, str]:
        """The headers by which a receiver can verify the sender; none without a key."""
        if self.key is None:
            return {}
        moment = str(int(now.timestamp()))
        signature = MessageSignature(self.key, notice.id, moment)
        signature.add(data)
        return {ID: notice.id, TIMESTAMP: moment, SIGNATURE: signature.text}


def _fault(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"does not answer within {PATIENCE.total:g} s"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "is no host that can be found"
    if isinstance(error, aiohttp.ClientSSLError):
        return "has no TLS, or a certificate that is not trusted here"
    return f"does not answer ({type(error).__name__})"


class NoticeNotSentError(RetryableError):
    """The receiver did not take a notice; the message names its host alone."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.NOTICE_NOT_SENT, message)


class NoticeRefusedError(NoticeNotSentError):
    """The receiver answered that it does not take this notice; it may take another."""


class Notices(Edge):
    """`silent` says that another daemon writes; that one then sends the notices."""

    name = "notices"

    def __init__(
        self,
        store: Store,
        receiver: Receiver,
        source: str,
        target: str,
        silent: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._receiver, self._silent, self._now = store, receiver, silent, now
        self._source, self._target = source, target
        self._clock = clock
        self._gone: dict[str, float] = {}  # since when an occasion that was told is over, by place
        self._refused: Counter[str] = Counter()  # how often the receiver refused a notice, by id

    async def wait(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            if not self._silent():
                return

    async def act(self) -> None:
        if self._silent():  # since the last try, which failed
            return
        before, now = sent_notices(self._store), self._now()
        wanted = {
            place: notice
            for place, notice in notices_of(self._store, now).items()
            if notice.occasion in self._receiver.occasions
        }
        if self._returned(before, wanted):
            keep_sent(self._store, before)
        await self._send(_due(before, wanted, self._settled(before, wanted)), before, now)

    async def _send(self, due: list[Notice], before: dict[str, Notice], now: datetime) -> None:
        """A notice that the receiver refuses must not keep the others back, so it goes last."""
        refusals: list[NoticeRefusedError] = []
        for notice in sorted(due, key=lambda each: self._refused[each.id]):
            try:
                await self._receiver.send(notice, self._source, self._target, now)
            except NoticeRefusedError as error:
                self._refused[notice.id] += 1
                refusals.append(error)
                if len(refusals) == REFUSALS:
                    break
                continue
            self._refused.pop(notice.id, None)
            if notice.over:
                before.pop(notice.place)
            else:
                before[notice.place] = notice
            keep_sent(self._store, before)
        if refusals:
            raise refusals[0]

    def _returned(self, before: dict[str, Notice], wanted: Mapping[str, Notice]) -> bool:
        """Join an occasion that was over for a moment with its former notice, so that one that
        comes and goes every few seconds is told once. Returns whether there was any.
        """
        again = [place for place in self._gone if place in wanted and place in before]
        before |= {place: wanted[place] for place in again}
        return bool(again)

    def _settled(self, before: Mapping[str, Notice], wanted: Mapping[str, Notice]) -> set[str]:
        """The occasions that have been over for long enough, by place."""
        now = self._clock()
        self._gone = {place: self._gone.get(place, now) for place in before if place not in wanted}
        return {place for place, since in self._gone.items() if now - since >= SETTLED}

    def concerns(self) -> Collection[DocumentRef]:
        """None: no document depends on notices. The log and the event report the failure."""
        return ()


def _due(
    before: Mapping[str, Notice], wanted: Mapping[str, Notice], settled: Collection[str]
) -> list[Notice]:
    """The notices to send: of occasions that have begun, or begun again, and that are over."""
    over = [replace(known, over=True) for place, known in before.items() if place in settled]
    begun = [
        notice
        for place, notice in wanted.items()
        if place not in before or before[place].since != notice.since
    ]
    return [*over, *begun]
