"""One request on its way through the gateway: it waits for its service, is sent, tried again until
a first byte has come, and its answer is passed on.

front.py makes a Passage for each request that may pass.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from serving.gateway.backend import Backend, UnavailableError
from serving.gateway.comments import Comments
from serving.gateway.directory import Target
from serving.gateway.line import Turn
from serving.gateway.replies import broken, comment, error_event, foreign_error, unavailable
from serving.gateway.routes import ANSWERED_BY_HEADER
from serving.gateway.upstream import NotReachedError, Upstreams, is_absent
from serving.gateway.usage import Usage, UsageMeter, Used
from serving.request.answers import Answer

WHOLE = 8 << 20  # bytes of an answer that is read whole, so that it can be asked for again
_TRIES, _DEATHS = 20, 2  # a request that kills its replica must not kill them all
_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_PASSED = ("content-type", "retry-after", "x-request-id", "x-moorage-adapter-version")
BEGUN = web.RequestKey("begun", bool)  # bytes of the answer to a request were sent
SSE = "text/event-stream; charset=utf-8"
_tickets = itertools.count()


@dataclass(frozen=True)
class Patience:
    """Seconds: until a waiting stream must end; between its comments; and until a stream gets the
    first comment if its service is awake but does not answer.
    """

    stream: float = 230.0
    comments: float = 5.0
    silent: float = 10.0


@dataclass
class Errand:
    """A judged request: what is asked of which service, for which caller, and how long it may wait.

    `fallback` may answer instead; `extra` are the headers that every answer carries.
    """

    target: Target
    path: str
    body: bytes
    asked: Mapping[str, Any]
    headers: dict[str, str]
    caller: str
    hold: float
    fallback: Target | None = None
    extra: list[tuple[str, str]] = field(default_factory=list)

    @property
    def streamed(self) -> bool:
        return self.asked.get("stream") is True

    def body_for(self, model: str) -> bytes:
        """The body as it came, unless the service calls the model otherwise."""
        if self.asked.get("model") == model:
            return self.body
        return json.dumps({**self.asked, "model": model}).encode()


@dataclass(frozen=True)
class Opened:
    """An answer whose first bytes, or whose whole body, came."""

    answer: aiohttp.ClientResponse
    first: bytes
    whole: bool


class Passage:
    """`backends` are all services that may answer."""

    def __init__(
        self,
        errand: Errand,
        backends: Mapping[str, Backend],
        upstreams: Upstreams,
        usage: Usage,
        patience: Patience,
    ) -> None:
        self._errand, self._backends, self._upstreams = errand, backends, upstreams
        self._usage, self._patience = usage, patience
        self._ticket = next(_tickets)
        self._began = asyncio.get_running_loop().time()
        self._primary = backends[errand.target.service.name]
        self._answers = self._primary
        self.meter: UsageMeter = usage.begin(
            errand.caller, errand.target.name, min(len(errand.body) // 4, 32_768)
        )

    async def run(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer the request."""
        try:
            if self._errand.streamed:
                return await self._stream(request)
            return await self._plain(request)
        except UnavailableError as error:
            self.meter.failed = True
            return reply(unavailable(error), self._errand.extra)
        finally:
            self._usage.end(self.meter)

    async def open(self) -> Opened:
        """The service's own answer (not one of the ingress), up to its first bytes.

        Raises:
            UnavailableError: the service cannot start, or not in time.
        """
        tries = deaths = 0
        while True:
            backend, body, turn = await self._admitted()
            self._answers = backend
            try:
                opened = await self._tried(backend, body, turn)
                if opened is not None:
                    backend.answered()
                    return opened
            except NotReachedError as error:
                # Only tries that may have reached the service count, because a request that kills
                # every replica must not be tried for ever.
                deaths += error.sent
            finally:
                if turn is not None:
                    turn.sent()
            tries += 1
            backend.lost()
            if deaths > _DEATHS or tries > _TRIES:
                name = backend.route.name
                text = f"{name} ended {deaths} times while it worked on this request"
                if deaths <= _DEATHS:
                    text = f"{name} did not take this request, which was sent {tries} times"
                raise UnavailableError("starting", text, backend.progress().left)
            await asyncio.sleep(min(_LONGEST_PAUSE, _PAUSE * 2**tries))

    async def _tried(self, backend: Backend, body: bytes, turn: Turn | None) -> Opened | None:
        """None when no replica was there to answer.

        Raises:
            NotReachedError: the connection broke before the first byte.
        """
        errand = self._errand
        answer = await self._upstreams.send(
            backend.route, errand.path, body, errand.headers, turn=turn
        )
        try:
            if await is_absent(answer):
                if answer.status in {500, 504}:  # the engine died, or took too long
                    raise NotReachedError("it ended", sent=True)
                answer.release()
                return None
            length = int(answer.headers.get("content-length") or WHOLE + 1)
            whole = answer.status >= 400 or length <= WHOLE
            first = await (answer.read() if whole else answer.content.readany())
        except (aiohttp.ClientError, OSError) as error:
            answer.close()
            raise NotReachedError(type(error).__name__, sent=True) from None
        return Opened(answer, first, whole=whole)

    async def _admitted(self) -> tuple[Backend, bytes, Turn | None]:
        """The service that answers, once it is awake, and the body for it."""
        errand, primary = self._errand, self._primary
        loop = asyncio.get_running_loop()
        left = max(0.0, self._began + errand.hold - loop.time())
        began = loop.time()
        instead = errand.fallback
        fallback = self._backends.get(instead.service.name) if instead else None
        # The fallback answers while it is up and the service is not, and always for a service that
        # cannot start.
        if (
            instead is not None
            and fallback is not None
            and not primary.up
            and (fallback.up or primary.fault)
        ):
            # Woken nevertheless, so that later requests need no fallback.
            if not primary.fault:
                primary.wake(self._woke)
            turn = await fallback.admitted(self._ticket, left, self._woke)
            return fallback, errand.body_for(instead.model.name), turn
        try:
            turn = await primary.admitted(self._ticket, left, self._woke)
        finally:
            held = loop.time() - began
            if held > 0.1:
                self._usage.add(errand.caller, errand.target.name, Used(held_seconds=held))
        return primary, errand.body_for(errand.target.model.name), turn

    def _woke(self) -> None:
        self._usage.add(self._errand.caller, self._errand.target.name, Used(wakeups=1))

    async def _plain(self, request: web.BaseRequest) -> web.StreamResponse:
        opened = await self.open()
        try:
            return await self._pass_on(request, opened, None)
        finally:
            opened.answer.close()

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        """Headers and comments at once while the service starts, then its answer."""
        comments = Comments(
            lambda: self._prepared(request, 200, self._waiting_headers()),
            self._news,
            self._patience.comments,
        )
        comments.begin(self._patience.silent if self._primary.up else _PAUSE)
        try:
            opened = await self.open()
        except UnavailableError as error:
            out = await comments.end()
            if out is None:
                raise
            self.meter.failed = True
            return await self._end(out, unavailable(error))
        except BaseException:
            comments.stop()
            raise
        try:
            return await self._pass_on(request, opened, await comments.end())
        finally:
            opened.answer.close()

    async def _pass_on(
        self, request: web.BaseRequest, opened: Opened, out: web.StreamResponse | None
    ) -> web.StreamResponse:
        answer, saw = opened.answer, self.meter.saw
        saw(opened.first)
        if opened.whole:
            self.meter.failed = answer.status >= 500
            body = opened.first
            if answer.status >= 400:
                error = foreign_error(answer.status, body)
                body = error.body
                if out is not None:
                    return await self._end(out, error)
            if out is None:
                return web.Response(status=answer.status, body=body, headers=self._headers(answer))
        if out is None:
            out = await self._prepared(request, answer.status, self._headers(answer))
        elif self._answers is not self._primary:
            await out.write(comment(f"{self._answers.route.name} answers"))
        write = out.write
        await write(opened.first)
        try:
            async for chunk in answer.content.iter_any():
                saw(chunk)
                await write(chunk)
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError):
            self.meter.failed = True
            if not self._errand.streamed:
                raise ConnectionResetError from None  # the caller sees that the answer is cut
            return await self._end(out, broken())
        await out.write_eof()
        return out

    async def _end(self, out: web.StreamResponse, answer: Answer) -> web.StreamResponse:
        await out.write(error_event(self._errand.path, answer))
        await out.write_eof()
        return out

    def _news(self) -> str:
        primary = self._primary
        if primary.up:
            # A replica that died without a final report looks awake until its last report is old.
            # The ingress holds the request meanwhile, so the comment must not say that the service
            # works on it.
            return f"the request was sent to {primary.route.name}, which has not answered yet"
        return primary.progress().text(primary.route.name)

    async def _prepared(
        self, request: web.BaseRequest, status: int, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        out = web.StreamResponse(status=status, headers=headers)
        request[BEGUN] = True
        await out.prepare(request)
        return out

    def _waiting_headers(self) -> CIMultiDict[str]:
        told = [("Content-Type", SSE), ("Cache-Control", "no-cache")]
        return CIMultiDict([*told, *self._errand.extra])

    def _headers(self, answer: aiohttp.ClientResponse) -> CIMultiDict[str]:
        given = answer.headers
        headers = CIMultiDict(self._errand.extra)
        headers.update((name, given[name]) for name in _PASSED if name in given)
        headers[ANSWERED_BY_HEADER] = self._answers.route.name
        return headers


def reply(answer: Answer, extra: list[tuple[str, str]]) -> web.Response:
    """An answer of the gateway's own."""
    response = web.Response(status=answer.status, body=answer.body)
    if answer.body:
        response.headers["Content-Type"] = "application/json"
    for name, value in answer.headers:
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    for key, text in extra:
        response.headers.add(key, text)
    return response
