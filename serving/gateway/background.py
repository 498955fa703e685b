"""Responses in the background: asked for now, made when the service is awake, fetched later.

Everything lies on the share (stored.py), so that a response outlives the gateway that took it and
any replica can show it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import aiohttp

from serving.gateway.backend import UnavailableError
from serving.gateway.callers import Caller, caller_headers, limits_of
from serving.gateway.passage import Errand, Opened, Passage
from serving.gateway.replies import RESPONSES, refusal_of
from serving.gateway.response_events import ENDED, OPENING, EventWriter, outline
from serving.gateway.stored import ResponseFiles, StoredRequest
from serving.gateway.usage import Used
from serving.gateway.world import GatewayWorld
from serving.request.answers import refuse
from serving.request.bodies import RefusedError

DAY = 86_400.0  # seconds for which a response is kept, and may wait
FETCHED = 600.0  # seconds for which a fetched response is kept: the fetch may have been cut
ABANDONED = 30.0  # seconds without a heartbeat, after which another gateway goes on
BEAT, FLUSH, BUSY = 10.0, 0.2, 5.0
SELDOM = 300.0  # seconds between looks at a finished response: there may be thousands
MOST, AT_ONCE = 1000, 32  # responses that a gateway keeps, and works on at a time
_TRIES = 3
log = logging.getLogger("moorage.gateway")
T = TypeVar("T")


class BackgroundFailure(Exception):
    """The response failed; the words are for its `error`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Background:
    """`start` before use, `close` after."""

    def __init__(self, world: GatewayWorld) -> None:
        self._world = world
        self._files = ResponseFiles(world.spot.data, world.spot.replica)
        self._thread = ThreadPoolExecutor(2, thread_name_prefix="responses")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._later: dict[str, float] = {}
        self._storing: set[str] = set()  # being written: without an owner, but not abandoned
        self._care: asyncio.Task[None] | None = None
        self._closed = False
        self.making = 0  # responses whose tokens are coming in

    async def start(self) -> None:
        self._care = asyncio.create_task(self._take_care(), name="responses")

    async def close(self) -> None:
        """Leave unfinished responses to another gateway."""
        self._closed = True
        tasks, self._tasks = self._tasks, {}
        if self._care is not None:
            self._care.cancel()
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for name in tasks:
            await self._in(partial(self._files.release, name))
        self._thread.shutdown(wait=False)

    def drain(self) -> None:
        """Take over no more; leave responses that wait for their service to another gateway."""
        if self._care is not None:
            self._care.cancel()

    async def take(
        self, caller: Caller, errand: Errand, done: Callable[[int], None]
    ) -> StoredRequest:
        """Keep a request and begin with it; `done` hears the tokens that it used.

        Raises:
            RefusedError: there are too many, or the share takes none.
        """
        if len(self._tasks) >= MOST:
            text = f"{MOST} responses are in the background already; try again."
            raise RefusedError(refuse(429, text, "too_many_waiting", (b"retry-after", b"30")))
        stored = StoredRequest(
            id=f"resp_{uuid.uuid4().hex}",
            caller=caller.name,
            model=errand.target.name,
            service=caller.service,
            fallback=errand.fallback.qualified if errand.fallback else None,
            evaluation=caller.key.evaluation,
            limits=limits_of(caller),
            created_at=datetime.now(UTC),
            body=dict(errand.asked),
        )
        self._storing.add(stored.id)
        try:
            # Written to the share before the caller gets its id, or a restart would forget it.
            await self._in(partial(self._files.create, stored))
            self._begin(stored, done)
        except OSError:
            log.exception("a response in the background cannot be stored")
            text = "Responses cannot be stored now; try again."
            raise RefusedError(refuse(503, text, "not_stored", (b"retry-after", b"5"))) from None
        finally:
            self._storing.discard(stored.id)
        return stored

    async def find(self, name: str, caller: Caller) -> StoredRequest:
        """The request of this caller. Raises RefusedError."""
        stored = await self._in(partial(self._files.request, name))
        if stored is None or stored.caller != caller.name:
            text = f"Response with id {name!r} not found."
            raise RefusedError(refuse(404, text, "not_found"))
        return stored

    async def shown(self, stored: StoredRequest, *, fetched: bool) -> dict[str, Any]:
        """The response as it is now. A finished one counts as fetched from here on."""
        answer = await self._in(partial(self._files.answer, stored.id))
        if answer is not None:
            if fetched:
                with suppress(OSError):
                    await self._in(partial(self._files.put, stored.id, "fetched"))
            return answer
        events, _ = await self._in(partial(self._files.events, stored.id, 0))
        return outline(stored, "in_progress" if len(events) > OPENING else "queued")

    async def cancel(self, stored: StoredRequest) -> dict[str, Any]:
        """End the work on the response; a finished one stays as it is."""
        answer = await self._in(partial(self._files.answer, stored.id))
        if answer is not None:
            return answer
        await self._in(partial(self._files.put, stored.id, "cancel"))
        await self._cancelled(stored.id)
        return outline(stored, "cancelled")

    async def remove(self, stored: StoredRequest) -> None:
        await self.cancel(stored)
        await self._in(partial(self._files.remove, stored.id))

    async def events(self, stored: StoredRequest, after: int) -> AsyncIterator[bytes | None]:
        """Server-sent events that come after one of this number, until the response has ended;
        None each time there is nothing new.
        """
        offset = 0
        while True:
            lines, offset = await self._in(partial(self._files.events, stored.id, offset))
            for line in lines:
                event = json.loads(line)
                if event["sequence_number"] > after:
                    after = event["sequence_number"]
                    yield f"event: {event['type']}\ndata: ".encode() + line + b"\n\n"
                if event["type"].removeprefix("response.") in ENDED:
                    return
            if not lines:
                if await self._in(partial(self._files.request, stored.id)) is None:
                    return  # it was deleted
                yield None
                await asyncio.sleep(FLUSH)

    def news(self, stored: StoredRequest) -> str:
        """What the service is doing, for people who watch the stream."""
        target = self._world.directory.find(stored.model, stored.service)
        backend = self._world.backends.get(target.service.name) if target else None
        if backend is None or backend.up:
            return "the response is being made"
        return backend.progress().text(backend.route.name)

    def _turn(self, stored: StoredRequest) -> asyncio.Semaphore:
        """The turn of the service: one that sleeps delays no requests for other services."""
        target = self._world.directory.find(stored.model, stored.service)
        service = target.service.name if target else ""
        return self._turns.setdefault(service, asyncio.Semaphore(AT_ONCE))

    def _begin(self, stored: StoredRequest, done: Callable[[int], None]) -> None:
        task = asyncio.create_task(self._work(stored, done), name=stored.id)
        self._tasks[stored.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(stored.id, None))

    async def _work(self, stored: StoredRequest, done: Callable[[int], None]) -> None:
        """Make the response, with several tries. If this gateway ends, another one goes on."""
        used, whole = 0, Used(requests=1)
        try:
            # The day includes the wait for a turn, because the caller counts from its request.
            async with asyncio.timeout(DAY), self._turn(stored):
                for left in reversed(range(_TRIES)):
                    try:
                        used = await self._made(stored)
                        break
                    except (aiohttp.ClientError, ConnectionError):
                        if not left:
                            text = f"The service ended its answer early, {_TRIES} times."
                            raise BackgroundFailure("answer_cut", text) from None
                        log.info("%s was cut and is made anew", stored.id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the response says so
            whole.errors = 1
            await self._failed(stored, *_cause(error, stored.id))
        finally:
            done(used)
            if not self._closed:  # another gateway goes on, and counts it
                self._world.usage.add(stored.caller, stored.model, whole)

    async def _made(self, stored: StoredRequest) -> int:
        """One try. Returns the tokens used.

        Raises:
            BackgroundFailure: the service refuses the request, or cannot start.
            aiohttp.ClientError, ConnectionError: the answer was cut.
        """
        # Drop what an earlier try wrote: a reader must not get two answers in one.
        await self._in(partial(self._files.begin, stored.id))
        writer = EventWriter(stored)
        await self._append(stored, writer.opening())
        passage = Passage(
            self._errand(stored),
            self._world.backends,
            self._world.upstreams,
            self._world.usage,
            self._world.patience,
        )
        passage.meter.part = True
        try:
            opened = await self._opened(passage)
            self.making += 1
            try:
                await self._copied(stored, opened, writer, passage)
            finally:
                self.making -= 1
                opened.answer.close()
        finally:
            self._world.usage.end(passage.meter)
        return sum(passage.meter.tokens)

    async def _opened(self, passage: Passage) -> Opened:
        """The beginning of the answer. While the service has no room, it tries again."""
        while True:
            try:
                opened = await passage.open()
            except UnavailableError as error:
                if error.kind == "stopped":
                    raise BackgroundFailure("service_stopped", f"{error}.") from None
                await asyncio.sleep(BUSY)
                continue
            if opened.answer.status == 429:
                await asyncio.sleep(BUSY)
                continue
            if opened.answer.status >= 400:
                raise BackgroundFailure(*refusal_of(opened.answer.status, opened.first))
            return opened

    async def _copied(
        self, stored: StoredRequest, opened: Opened, writer: EventWriter, passage: Passage
    ) -> None:
        """Write the service's events to the share, several at a time."""
        chunk, source = opened.first, opened.answer.content
        loop = asyncio.get_running_loop()
        written, lines = loop.time(), b""
        while chunk:
            passage.meter.saw(chunk)
            lines += writer.take(chunk)
            if lines and (loop.time() - written > FLUSH or writer.final is not None):
                await self._append(stored, lines)
                written, lines = loop.time(), b""
            chunk = await source.readany()
        if writer.final is None:
            raise ConnectionError("the stream ended early")
        await self._in(partial(self._files.finish, stored.id, writer.final))

    def _errand(self, stored: StoredRequest) -> Errand:
        """Raises BackgroundFailure."""
        target = self._world.directory.find(stored.model, stored.service)
        if target is None:
            raise BackgroundFailure("model_not_found", f"{stored.model} is no longer served.")
        asked = {**stored.body, "stream": True}
        asked.pop("background", None)
        headers = {"content-type": "application/json", "x-request-id": stored.id}
        headers |= caller_headers(stored.caller, stored.limits, evaluation=stored.evaluation)
        body = json.dumps(asked).encode()
        instead = self._world.directory.find(stored.fallback) if stored.fallback else None
        return Errand(target, RESPONSES, body, asked, headers, stored.caller, DAY, instead)

    async def _append(self, stored: StoredRequest, lines: bytes) -> None:
        await self._in(partial(self._files.append, stored.id, lines))

    async def _failed(self, stored: StoredRequest, code: str, text: str) -> None:
        error = {"code": code, "message": text}
        await self._end(stored, {**outline(stored, "failed"), "error": error})

    async def _end(self, stored: StoredRequest, answer: dict[str, Any]) -> None:
        """End a response without the service: write its last event and its answer."""
        try:
            number = await self._in(partial(self._files.next_number, stored.id))
            event = {
                "type": f"response.{answer['status']}",
                "sequence_number": number,
                "response": answer,
            }
            await self._append(stored, json.dumps(event).encode() + b"\n")
            await self._in(partial(self._files.finish, stored.id, answer))
        except OSError:
            log.exception("the end of %s cannot be written", stored.id)

    async def _cancelled(self, name: str) -> None:
        """End a cancelled response. The gateway that works on it does so; if none does, the one
        that took the cancellation.
        """
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            stored = await self._in(partial(self._files.request, name))
            if stored is not None:
                await self._end(stored, outline(stored, "cancelled"))

    async def _take_care(self) -> None:
        while True:
            try:
                await self._round()
            except Exception:
                log.exception("looking after the responses failed and is tried again")
            await asyncio.sleep(BEAT)

    async def _round(self) -> None:
        now = asyncio.get_running_loop().time()
        names = await self._in(self._files.ids)
        self._later = {name: self._later[name] for name in names if name in self._later}
        for name in set(names) - self._storing:
            if self._later.get(name, 0.0) <= now and await self._cared(name):
                self._later[name] = now + SELDOM

    async def _cared(self, name: str) -> bool:
        """Keep the claims of this gateway, take over abandoned responses, remove old ones. Returns
        whether nothing is left to do for a while.
        """
        files = self._files
        if name in self._tasks:
            await self._in(partial(files.claim, name))
            if await self._in(partial(files.since, name, "cancel")) is not None:
                await self._cancelled(name)
            return False
        owner, quiet = await self._in(partial(files.owner, name))
        stored = await self._in(partial(files.request, name))
        if stored is None:
            if quiet > ABANDONED:
                await self._in(partial(files.remove, name))  # it was never taken
            return False
        age = (datetime.now(UTC) - stored.created_at).total_seconds()
        fetched = await self._in(partial(files.since, name, "fetched"))
        if age > DAY or (fetched or 0) > FETCHED:
            await self._in(partial(files.remove, name))
            return False
        ours = owner == self._world.spot.replica
        if await self._in(partial(files.finished, name)):
            return True
        if ours or quiet > ABANDONED:
            await self._adopt(stored)
        return False

    async def _adopt(self, stored: StoredRequest) -> None:
        """Go on with a response whose gateway is gone. If two do, the later claim counts."""
        await self._in(partial(self._files.claim, stored.id))
        await asyncio.sleep(FLUSH)
        owner, _ = await self._in(partial(self._files.owner, stored.id))
        if owner != self._world.spot.replica:
            return
        if await self._in(partial(self._files.since, stored.id, "cancel")) is not None:
            await self._end(stored, outline(stored, "cancelled"))
            return
        log.info("%s is taken over", stored.id)
        self._begin(stored, lambda _: None)

    async def _in(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _cause(error: Exception, name: str) -> tuple[str, str]:
    """Code and words for the response's `error`."""
    if isinstance(error, BackgroundFailure):
        return error.code, str(error)
    if isinstance(error, TimeoutError):
        return "expired", "The response was not made within a day."
    log.error("%s failed", name, exc_info=error)
    return "server_error", f"It failed: {type(error).__name__}."
