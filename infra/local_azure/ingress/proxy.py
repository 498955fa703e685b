"""Streams one request to a replica and its answer back, byte for byte as they come.

Only a request that was certainly not delivered (no connection) is tried on another replica.
"""

import asyncio
import random
import uuid
from contextlib import suppress

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from infra.local_azure.runtime.shim_client import ShimGoneError

from . import answers, faults
from .table import App, Revision, Table
from .upstream import Upstream
from .websocket import is_websocket, tunnel

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_READ_AHEAD = 512 * 1024
_AGAIN_S = 0.5  # before a replica that did not take a request is asked again
_BODILESS = (204, 304)
_AFFINITY = "acaAffinity"
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class NoReplicaError(Exception):
    """No replica of the chosen revision can take the request."""


class Proxy:
    """The handler of one app's listener."""

    def __init__(self, table: Table, port: int) -> None:
        self._table = table
        self._port = port

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        app = self._table.apps.get(self._port)
        if app is not None and not app.allow_insecure and not _is_secure(request):
            return answers.to_https(request)
        if app is None:
            return answers.answer(request, 404, answers.NO_APP)
        # A scripted fault of the ingress applies whatever state the replicas are in.
        instead, cut = await faults.strike(self._table.faults, app.name, request)
        if instead is not None:
            return instead
        revision = app.choose(request.headers.get("Host", ""))
        if revision is None:
            return answers.answer(request, 404, answers.NO_APP)
        # From here on it counts as load, while it waits for a replica too: that is what wakes one.
        revision.in_flight += 1
        exchange = _Exchange(self._table, app, revision, request, cut=cut)
        try:
            async with asyncio.timeout(self._table.timeout_s):
                return await exchange.run()
        except NoReplicaError:
            return answers.answer(request, 503, answers.NO_REPLICA.format(revision.name))
        except TimeoutError:
            return exchange.give_up(504, answers.TIMED_OUT)
        except (aiohttp.ClientError, OSError) as error:
            return exchange.give_up(503, answers.NOT_REACHED.format(type(error).__name__))
        finally:
            revision.in_flight -= 1


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, table: Table, app: App, revision: Revision, request: web.BaseRequest, *, cut: bool
    ) -> None:
        self._table = table
        self._app = app
        self._revision = revision
        self._request = request
        self._cut = cut
        self._refused: set[str] = set()
        self._response: web.StreamResponse | None = None
        self._body: bytes | None = None

    async def run(self) -> web.StreamResponse:
        request = self._request
        if (
            request.headers.get("Expect", "").lower() == "100-continue"
            and request.transport is not None
        ):
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if (
            request.can_read_body
            and request.content_length is not None
            and request.content_length <= _READ_AHEAD
        ):
            self._body = await request.read()
        while True:
            upstream = await self._pick()
            upstream.begin()
            try:
                return await self._attempt(upstream, await upstream.session())
            except (aiohttp.ClientConnectorError, ShimGoneError):  # not connected, so not delivered
                self._refused.add(upstream.name)
            finally:
                upstream.end()

    async def _attempt(
        self, upstream: Upstream, session: aiohttp.ClientSession
    ) -> web.StreamResponse:
        if is_websocket(self._request):
            return await tunnel(self._request, session, self._url(), self._headers())
        return await self._forward(session, upstream.affinity)

    def give_up(self, status: int, text: str) -> web.StreamResponse:
        """Answers with an error if nothing was sent yet. Afterwards only a cut connection shows the
        client that the answer is incomplete.
        """
        if self._response is None:
            return answers.answer(self._request, status, text)
        if self._request.transport is not None:
            self._request.transport.abort()
        return self._response

    async def _pick(self) -> Upstream:
        """The ready replica with the fewest requests; waits for one when the revision is scaled to
        zero.
        """
        self._revision.waiting += 1
        try:
            while True:
                ready = [
                    replica
                    for replica in self._revision.replicas
                    if not replica.gone and replica.name not in self._refused
                ]
                if self._app.sticky and (wanted := self._request.cookies.get(_AFFINITY)):
                    ready = [replica for replica in ready if replica.affinity == wanted] or ready
                if ready:
                    return min(ready, key=lambda replica: (replica.in_flight, random.random()))
                if not self._revision.hold:
                    raise NoReplicaError
                # A replica that refused a moment ago may listen soon, and a start that is quicker
                # than the scheduler's pass changes no table.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_S if self._refused else None):
                        await self._table.wait_for_change()
                self._refused.clear()
        finally:
            self._revision.waiting -= 1

    async def _forward(self, session: aiohttp.ClientSession, affinity: str) -> web.StreamResponse:
        request = self._request
        body = (
            self._body
            if self._body is not None
            else request.content.iter_any()
            if request.can_read_body
            else None
        )
        async with session.request(
            request.method,
            self._url(),
            headers=self._headers(),
            data=body,
            allow_redirects=False,
            skip_auto_headers=_NOT_ADDED,
        ) as upstream:
            self._response = response = web.StreamResponse(
                status=upstream.status, reason=upstream.reason
            )
            response.headers.extend(_end_to_end(upstream.headers))
            if self._app.sticky and request.cookies.get(_AFFINITY) != affinity:
                response.headers.add(
                    "Set-Cookie",
                    f'{_AFFINITY}="{affinity}"; Path=/; HttpOnly; Secure; SameSite=None',
                )
            if "Content-Length" not in response.headers and _has_body(request, upstream.status):
                response.enable_chunked_encoding()
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                if self._cut:
                    await response.write(chunk[: len(chunk) // 2])
                    faults.cut(request)
                    return response
                await response.write(chunk)
            with suppress(ConnectionResetError):  # the client left after the last byte
                await response.write_eof()
            return response

    def _url(self) -> URL:
        return URL(f"http://replica{self._request.raw_path}", encoded=True)

    def _headers(self) -> CIMultiDict[str]:
        """The client's headers with Envoy's and Container Apps' own."""
        request = self._request
        headers = _end_to_end(request.headers)
        peer = request.remote or "127.0.0.1"
        headers["X-Forwarded-For"] = ", ".join([*headers.getall("X-Forwarded-For", []), peer])
        headers["X-Forwarded-Proto"] = "https" if _is_secure(request) else "http"
        headers["X-Envoy-External-Address"] = peer
        headers["X-Ms-Containerapp-Name"] = self._app.name
        headers["X-Ms-Containerapp-Revision-Name"] = self._revision.name
        headers.setdefault("X-Request-Id", str(uuid.uuid4()))
        return headers


def _is_secure(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.get_extra_info("sslcontext") is not None


def _has_body(request: web.BaseRequest, status: int) -> bool:
    """Whether the answer's end must be marked by chunks; HTTP/1.0 knows none, there the
    connection's end marks it.
    """
    return (
        status not in _BODILESS
        and request.method != "HEAD"
        and request.version >= aiohttp.HttpVersion11
    )


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Without the headers that belong to one connection (RFC 9110 7.6.1), those that Connection
    names included.
    """
    named = {
        name.strip().lower()
        for value in headers.getall("Connection", [])
        for name in value.split(",")
    }
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP | named
    )
