"""What a gateway works with: the newest routes, a backend for each of their services, the callers,
the usage; followed and written by tasks of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from serving.catalogue import ReplicaReport
from serving.gateway.backend import Backend, Senses
from serving.gateway.callers import Caller, Callers
from serving.gateway.counters import exposition
from serving.gateway.directory import Directory
from serving.gateway.entra import EntraTokens, TokenRefusedError, token_of
from serving.gateway.learning import LearnedStarts
from serving.gateway.passage import Patience
from serving.gateway.records import Records, share_time
from serving.gateway.routes import GatewayRoutes, GatewayState, RoutedService
from serving.gateway.routes_watch import RoutesWatch
from serving.gateway.upstream import Upstreams, fresh_reports
from serving.gateway.usage import Usage
from serving.request.bodies import RefusedError
from serving.request.keys import Header

POLL, RECORD, LOOK = 1.0, 5.0, 5.0  # seconds
QUIET = 600.0  # seconds after which reports of a service that nobody asks for are read less often
_SELDOM = 3  # of that many looks
log = logging.getLogger("moorage.gateway")
T = TypeVar("T")


@dataclass(frozen=True)
class Spot:
    """Where a gateway reads and writes, and its name; `room` is how many bytes of large bodies it
    keeps at a time.
    """

    share: Path
    data: Path
    environment: str
    replica: str
    key: str
    room: int = 64 << 20

    @property
    def routes(self) -> Path:
        return self.share / "gateway" / self.environment / "routes"


class GatewayWorld:
    """`start` before use, `close` after."""

    def __init__(self, spot: Spot, patience: Patience | None = None) -> None:
        self.spot = spot
        self.patience = patience or Patience()
        self.routes: GatewayRoutes | None = None
        self.directory = Directory(GatewayRoutes(environment=spot.environment, generation=1))
        self.backends: dict[str, Backend] = {}
        self.callers, self.usage, self.starts = Callers(), Usage(), LearnedStarts()
        self.tokens = EntraTokens(self._fetch)
        self.began = datetime.now(UTC)
        self._watch = RoutesWatch(spot.routes, spot.environment)
        self._records = Records(spot.data, spot.replica)
        # A thread for each kind of work: a share that hangs for one does not hold up the others.
        self._threads = {
            name: ThreadPoolExecutor(1, thread_name_prefix=name)
            for name in ("routes", "reports", "records")
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._retired: list[Upstreams] = []
        self._trouble, self._looks = "", -1

    async def start(self) -> None:
        self.upstreams = Upstreams(self.spot.key)
        self.starts.load(await self._in("records", self._records.learned))
        await self._once(self._follow)
        # Now, so that the other replicas of the gateway count this one.
        await self._once(self._record)
        for work, pause in ((self._follow, POLL), (self._look, LOOK), (self._record, RECORD)):
            self._tasks.append(asyncio.create_task(self._again(work, pause)))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for backend in self.backends.values():
            await backend.close()
        await self._once(self._record)
        for upstreams in (*self._retired, self.upstreams):
            await upstreams.close()
        for thread in self._threads.values():
            thread.shutdown(wait=False)

    async def caller(self, headers: Iterable[Header]) -> Caller | None:
        """Whose key or token is in the headers. Raises RefusedError for a token that is none."""
        headers = list(headers)
        found, policy = self.callers.find(headers), self.routes.entra if self.routes else None
        if found is not None or policy is None or (token := token_of(headers)) is None:
            return found
        try:
            holder = await self.tokens.check(policy, token)
        except TokenRefusedError as error:
            raise RefusedError(error.answer) from None
        return self.callers.holder(holder.subject, holder.grant)

    def state(self) -> GatewayState:
        return GatewayState(
            replica=self.spot.replica,
            heartbeat=datetime.now(UTC),
            generation=self.routes.generation if self.routes else None,
            services=tuple(backend.state() for backend in self.backends.values()),
            learned=self.starts.dump(),
        )

    def metrics(self) -> bytes:
        return exposition(self.usage, self.state(), self.starts.errors())

    async def _follow(self) -> None:
        routes = await self._in("routes", self._watch.read)
        if routes is not None and routes != self.routes:
            await self._adopt(routes)

    async def _adopt(self, routes: GatewayRoutes) -> None:
        log.info("following routes %s", routes.file_name)
        if routes.ca != (self.routes.ca if self.routes else None):
            # Requests that run keep the connections of the session that they began with.
            self._retired.append(self.upstreams)
            self.upstreams = Upstreams(self.spot.key, routes.ca)
        most = routes.hold.max_requests
        senses = Senses(self._awake, self._reports)
        before, self.backends = self.backends, {}
        for service in routes.services:
            backend = before.pop(service.name, None)
            if backend is None:
                backend = Backend(service, senses, self.starts, most)
            else:
                backend.follow(service, most)
            self.backends[service.name] = backend
        self.callers.follow(routes)
        self.directory, self.routes = Directory(routes), routes
        for gone in before.values():
            await gone.close()

    async def _look(self) -> None:
        """Read the reports of all services, so that lists say which are awake."""
        now = asyncio.get_running_loop().time()
        self._looks += 1
        for backend in list(self.backends.values()):
            if now - backend.asked_at < QUIET or self._looks % _SELDOM == 0:
                await backend.look()

    async def _record(self) -> None:
        lines = self.usage.lines()
        try:
            await self._in("records", partial(self._records.append, lines))
        except OSError:
            self.usage.untell(lines)
            raise
        await self._in("records", partial(self._records.save, self.state()))
        self.callers.share(await self._in("records", self._records.replicas))

    async def _fetch(self, url: str) -> bytes:
        return await self.upstreams.fetch(url)

    async def _awake(self, service: RoutedService) -> bool:
        return await self.upstreams.awake(service)

    async def _reports(self, service: RoutedService) -> tuple[ReplicaReport, ...]:
        if not service.reports:
            return ()
        spot, folder = self.spot, self.spot.share / service.reports

        def read() -> tuple[ReplicaReport, ...]:
            return fresh_reports(folder, share_time(spot.data, spot.replica))

        return await self._in("reports", read)

    async def _in(self, thread: str, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads[thread], work)

    async def _again(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            await self._once(work)

    async def _once(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run the step; after an error the next call tries again. The same error of the share is
        logged once.
        """
        try:
            await work()
            self._trouble = ""
        except OSError as error:
            if str(error) != self._trouble:
                log.warning("the share failed: %s", error)
            self._trouble = str(error)
        except Exception:
            log.exception("a task of the gateway failed and is tried again")
