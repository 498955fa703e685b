"""Requests to the services behind the gateway, over kept connections, and which of their failures
are worth another try.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from pydantic import ValidationError
from yarl import URL

from serving.catalogue import ReplicaReport, earlier
from serving.gateway.line import Turn
from serving.gateway.routes import RoutedService
from serving.untrusted import parse, read

FRESH = timedelta(seconds=45)  # the age at which a report is stale
_NO_APP = b"Container App is stopped or does not exist"
# vLLM's answer to a request that was running when its engine died.
_DEAD_ENGINE = (b"EngineCore", b"EngineDead")
_ASKING = 235.0  # seconds that a request to a sleeping service may hang in the ingress
_REPORTS = 256
_ERROR = 64 << 10  # bytes of an error that are looked at
log = logging.getLogger("moorage.gateway")


class NotReachedError(Exception):
    """No answer came. `sent`: the service may have worked on the request before it went."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Upstreams:
    """`key` is what the gateway shows to replicas."""

    def __init__(self, key: str, ca: str | None = None) -> None:
        context = ssl.create_default_context()
        if ca:
            context.load_verify_locations(cadata=ca)
        connector = aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=25)
        self._session = _session(connector)
        # Over the same connections, for requests that are sent in turn.
        self._in_turn = _session(connector, connector_owner=False, trace_configs=[_turns()])
        self._key = {"authorization": f"Bearer {key}", "accept-encoding": "identity"}

    async def send(
        self,
        service: RoutedService,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        seconds: float | None = None,
        turn: Turn | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer's head, within so many seconds if a limit is given. With a turn, nothing is
        written before the turn comes.

        Raises:
            NotReachedError: none came.
        """
        session = self._session if turn is None else self._in_turn
        asked = session.request(
            "POST",
            _url(service.endpoint, path),
            data=body,
            headers={**headers, **self._key},
            # A redirect would carry the key and the prompt to a host that the routes do not name.
            allow_redirects=False,
            trace_request_ctx=turn,
        )
        try:
            return await (asked if seconds is None else asyncio.wait_for(asked, seconds))
        except aiohttp.ClientConnectorError as error:
            raise NotReachedError(f"{type(error).__name__}", sent=False) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NotReachedError(f"{type(error).__name__}", sent=True) from None

    async def awake(self, service: RoutedService) -> bool:
        """Whether the service answers `/ready`. Asking wakes it."""
        try:
            async with asyncio.timeout(_ASKING):
                url = service.endpoint.rstrip("/") + "/ready"
                async with self._session.get(url, allow_redirects=False) as answer:
                    return answer.status < 500 and not await is_absent(answer)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def fetch(self, url: str) -> bytes:
        """A small document. Raises OSError."""
        try:
            async with asyncio.timeout(10), self._session.get(url) as answer:
                if answer.status == 200:
                    return await answer.content.read(_ERROR)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(str(error)) from None
        raise OSError(f"status {answer.status}")

    async def close(self) -> None:
        await self._in_turn.close()
        await self._session.close()


def _session(connector: aiohttp.TCPConnector, **more: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, connect=10),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("user-agent", "accept-encoding", "accept", "content-type"),
        **more,
    )


def _turns() -> aiohttp.TraceConfig:
    """Hold a request between its connection and its first byte until its turn comes, and pass the
    turn on once the bytes are written.
    """

    async def comes(_: object, context: SimpleNamespace, __: object) -> None:
        await context.trace_request_ctx.come()

    async def writes(_: object, context: SimpleNamespace, __: object) -> None:
        # aiohttp writes when this returns, before the loop calls anything else.
        asyncio.get_running_loop().call_soon(context.trace_request_ctx.sent)

    turns = aiohttp.TraceConfig()
    # The head is only kept when this is called: it goes with the body's first bytes. A connection
    # whose caller leaves meanwhile is closed, which it is not in the signals of the connector.
    turns.on_request_headers_sent.append(comes)
    turns.on_request_chunk_sent.append(writes)
    return turns


@lru_cache(maxsize=1024)
def _url(endpoint: str, path: str) -> URL:
    return URL(endpoint.rstrip("/") + path)


async def is_absent(answer: aiohttp.ClientResponse) -> bool:
    """Whether the ingress answered because no replica exists. If so, the body has been read."""
    if answer.status in {502, 503, 504}:
        return True
    if answer.status not in {404, 500}:
        return False
    body = await answer.read()
    if answer.status == 500:
        return any(word in body[:_ERROR] for word in _DEAD_ENGINE)
    return _NO_APP in body[:_ERROR]


def fresh_reports(folder: Path, present: float) -> tuple[ReplicaReport, ...]:
    """What the replicas of a service report, in times of this machine's clock, without what is old
    or cannot be read. `present` is the share's time in seconds since 1970. Blocking.
    """
    now, found = datetime.now(UTC), []
    try:
        names = sorted(path for path in folder.iterdir() if path.name[0] != ".")[:_REPORTS]
    except OSError:
        return ()
    for path in names:
        try:
            age = timedelta(seconds=present - path.stat().st_mtime)
            report = ReplicaReport.model_validate(parse(read(path)))
        except (OSError, ValueError, ValidationError):
            continue
        if age < FRESH:
            found.append(earlier(report, report.heartbeat - (now - age)))
    return tuple(found)
