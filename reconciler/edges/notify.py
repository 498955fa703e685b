"""Sends notices to the address that a person gave: once when something begins, once when it is
over. What could not be sent is sent later; the receiver sees the same id again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
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
    cloud_event,
    notices_of,
    plain,
    remember_told,
    sentence,
    told,
)

EVERY = 2.0  # seconds between looks at the store
PATIENCE = aiohttp.ClientTimeout(total=15)


@dataclass(frozen=True)
class Receiver:
    """`form` is `cloudevents` or `webhook`; the address may hold a secret and is never shown."""

    url: str
    form: str
    token: str
    occasions: frozenset[Occasion]

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
        else:
            body = {"text": sentence(notice, target), "id": notice.id, **plain(notice)}
            headers["Content-Type"] = "application/json"
        try:
            async with (
                aiohttp.ClientSession(timeout=PATIENCE) as session,
                session.post(self.url, json=body, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status >= 300:
                    raise NoticeNotSentError(f"{self.host} answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoticeNotSentError(
                f"{self.host} does not answer ({type(error).__name__})"
            ) from None


class NoticeNotSentError(RetryableError):
    """The receiver did not take a notice; the message names its host alone."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.NOTICE_NOT_SENT, message)


class Notices(Edge):
    """`silent` says that another daemon writes, which then tells as well."""

    name = "notices"

    def __init__(
        self,
        store: Store,
        receiver: Receiver,
        source: str,
        target: str,
        silent: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._receiver, self._silent, self._now = store, receiver, silent, now
        self._source, self._target = source, target
        self._looked = -1

    async def wait(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            if not self._silent():
                return

    async def act(self) -> None:
        before, now = told(self._store), self._now()
        wanted = {
            place: notice
            for place, notice in notices_of(self._store, now).items()
            if notice.occasion in self._receiver.occasions
        }
        for notice in _due(before, wanted):
            await self._receiver.send(notice, self._source, self._target, now)
            if notice.over:
                before.pop(notice.place)
            else:
                before[notice.place] = notice
            remember_told(self._store, before)

    def concerns(self) -> Collection[DocumentRef]:
        """No document is worse off for it; the log and the event say so."""
        return ()


def _due(before: Mapping[str, Notice], wanted: Mapping[str, Notice]) -> list[Notice]:
    """What has begun since, or begun anew, and what is over."""
    over = [replace(known, over=True) for place, known in before.items() if place not in wanted]
    begun = [
        notice
        for place, notice in wanted.items()
        if place not in before or before[place].since != notice.since
    ]
    return [*over, *begun]
