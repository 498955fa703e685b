"""One service as the gateway sees it: awake, starting, asleep or stopped; the requests that wait
for it; and the one wake that they all share.

A gateway has no rights on Azure. What it knows comes from the service's own answers and from the
reports that its replicas write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from serving.catalogue import ReplicaReport, Stage
from serving.gateway.learning import LearnedStarts
from serving.gateway.line import Line, LineFullError, Turn
from serving.gateway.progress import StartProgress, progress
from serving.gateway.routes import RoutedService, RoutedState, StartFault

TRUST = 30.0  # seconds for which an answer, or a ready report, proves that the service is awake
ANSWER = 10.0  # seconds for which an answer counts more than what reports say
RESTART = 60.0  # seconds since an answer, within which a failed revision may only be restarting
LOOK = 1.0  # seconds between looks at the reports of a service that starts
NO_START = 2.0  # seconds; a service that is awake sooner was not asleep
_TOLD = 5.0  # seconds for the reports to be read once a start is over
LONGEST = 1800.0  # seconds, or three times the prediction, after which a start has failed
log = logging.getLogger("moorage.gateway")


class UnavailableError(Exception):
    """The service does not answer this request; `left` are the seconds that its start still
    takes.
    """

    def __init__(
        self, kind: Literal["stopped", "starting", "full"], text: str, left: float = 0
    ) -> None:
        super().__init__(text)
        self.kind, self.left = kind, left


@dataclass(frozen=True)
class Senses:
    """How a backend learns of its service: it asks `/ready`, which also wakes, and reads
    reports.
    """

    awake: Callable[[RoutedService], Awaitable[bool]]
    reports: Callable[[RoutedService], Awaitable[tuple[ReplicaReport, ...]]]


class Backend:
    """Level-triggered: whether the service is awake is checked, never remembered for long."""

    def __init__(
        self, route: RoutedService, senses: Senses, starts: LearnedStarts, most: int
    ) -> None:
        self.route = route
        self.line = Line(most)
        self.started_at: datetime | None = None
        self.asked_at = float("-inf")
        self._senses, self._starts = senses, starts
        self._seen_up = self._answered_at = float("-inf")
        # After a failed request, reports do not count until the service has answered again.
        self._doubt = False
        self._report: ReplicaReport | None = None
        self._wake: asyncio.Task[None] | None = None
        self._began = 0.0
        self._told = starts.predict(route)

    @property
    def up(self) -> bool:
        return _now() - self._seen_up < TRUST

    @property
    def starting(self) -> bool:
        return self._wake is not None

    @property
    def booting(self) -> bool:
        """Whether a replica says that it starts: a rollout starts one without any caller."""
        report = self._report
        return report is not None and report.stage is not None and not report.ready

    @property
    def fault(self) -> StartFault | None:
        """Why it cannot start. Azure also calls a revision failed whose container dies twice and
        starts again, so a service that has just answered is waited for.
        """
        answered = _now() - self._answered_at < RESTART
        return None if self.up or answered else self.route.stopped

    def progress(self) -> StartProgress:
        """The progress of the start under way, or of one that began now."""
        if self._wake is None and not self.booting:
            return progress(self._starts.predict(self.route), 0.0, None)
        running = None
        if self._report is not None:
            running = (datetime.now(UTC) - self._report.started_at).total_seconds()
        if self._wake is None:
            return progress(self._starts.predict(self.route), 0.0, self._report, running)
        return progress(self._told, _now() - self._began, self._report, running)

    def state(self) -> RoutedState:
        """The state that callers and the daemon see."""
        up, fault = self.up, self.fault
        under_way = self.starting or self.booting
        waking = under_way or self.route.min_replicas > 0
        ahead = self.progress()
        return RoutedState(
            name=self.route.name,
            state="ready" if up else "failed" if fault else "starting" if waking else "asleep",
            started_at=self.started_at if self.starting else None,
            predicted_seconds=None if up or fault else round(ahead.left, 1),
            held=len(self.line),
            stage=ahead.stage if under_way and not up else None,
            message=fault.message if fault else "",
        )

    async def admitted(self, ticket: int, seconds: float, woke: Callable[[], None]) -> Turn | None:
        """Wait until the service can be asked, for so many seconds at most. A request that waited
        in the line gets a turn, and must report when it was sent.

        Raises:
            UnavailableError: it cannot start, the line is full, or it is not awake in time.
        """
        self.asked_at = _now()
        # No request overtakes those that wait, or that were let on and are not yet sent.
        if self.up and not len(self.line) and not self.line.moving:
            return None
        if fault := self.fault:
            raise UnavailableError("stopped", stopped_text(self.route.name, fault))
        try:
            place = self.line.join(ticket)
        except LineFullError:
            text = f"{self.route.name} is starting and {self.line.most} requests wait for it"
            raise UnavailableError("full", text, self.progress().left) from None
        if not self.line.moving:
            self.wake(woke)
        try:
            async with asyncio.timeout(seconds):
                return await place
        except TimeoutError:
            self.line.leave(place)
            ahead = self.progress()
            raise UnavailableError("starting", ahead.text(self.route.name), ahead.left) from None
        except BaseException:
            self.line.leave(place)
            raise

    def wake(self, woke: Callable[[], None]) -> None:
        """Wake the service unless that is under way; `woke` is called once it took a start."""
        if self._wake is None:
            self._wake = asyncio.create_task(self._start(woke), name=f"wake {self.route.name}")
            self._wake.add_done_callback(self._ended)

    def answered(self) -> None:
        """The service has answered a request."""
        self._seen_up = self._answered_at = _now()
        self._doubt = False

    def lost(self) -> None:
        """A request did not reach the service."""
        self._seen_up, self._doubt = float("-inf"), True
        if self.line.moving:
            self.line.close()
            if len(self.line):  # they need a wake, and there may be no later request to start it
                self.wake(lambda: None)

    async def look(self) -> None:
        """Read what the replicas report."""
        reports = await self._senses.reports(self.route)
        self._report = max(reports, key=lambda one: one.started_at, default=None)
        if not self._doubt and any(report.ready for report in reports):
            self._seen_up = _now()
        elif reports and _now() - self._answered_at > ANSWER:
            self._seen_up = float("-inf")  # its last replica has said that it stops

    def follow(self, route: RoutedService, most: int) -> None:
        """Take over changed routes. If they say that the service cannot start, the waiting requests
        fail at once.
        """
        self.route, self.line.most = route, most
        if fault := self.fault:
            self.line.fail(UnavailableError("stopped", stopped_text(route.name, fault)))

    async def close(self) -> None:
        text = f"{self.route.name} is no longer served here"
        self.line.fail(UnavailableError("stopped", text))
        if self._wake is not None:
            self._wake.cancel()
            await asyncio.gather(self._wake, return_exceptions=True)

    async def _start(self, woke: Callable[[], None]) -> None:
        self._began, self.started_at = _now(), datetime.now(UTC)
        self._told = self._starts.predict(self.route)
        try:
            awake = await self._woken()
        finally:
            self._wake = None  # a request from here on wakes it again
        seconds = _now() - self._began
        if not awake:
            fault = self.fault
            text = f"{self.route.name} did not start within {seconds:.0f} s"
            text = stopped_text(self.route.name, fault) if fault else text
            self.line.fail(UnavailableError("stopped", text))
            return
        if seconds >= NO_START:
            log.info("%s was awake after %.1f s", self.route.name, seconds)
            woke()
        self.line.open()
        if seconds >= NO_START:
            began = datetime.now(UTC) - timedelta(seconds=seconds)
            stages = await self._stages(began)
            self._starts.observe(self.route, round(seconds, 3), self._told.seconds, stages)

    async def _stages(self, began: datetime) -> dict[Stage, float]:
        """How long the stages of a start since `began` took, by the report of the started replica;
        nothing if none reports it.
        """
        try:
            async with asyncio.timeout(_TOLD):
                reports = await self._senses.reports(self.route)
        except TimeoutError:
            return {}
        new = [each for each in reports if each.stages and each.started_at >= began]
        report = min(new, key=lambda each: each.started_at, default=None)
        if report is None:
            return {}
        before = (report.started_at - began).total_seconds()
        return {"image": round(before, 3), **report.stages}

    async def _woken(self) -> bool:
        """Wait for the end of a start. Returns whether the service is awake: it answers, or a
        replica reports that it is ready.
        """
        asked: asyncio.Task[bool] | None = None
        looked: asyncio.Task[None] | None = None
        try:
            while _now() - self._began < max(LONGEST, 3 * self._told.seconds) and not self.fault:
                asked = asked or asyncio.create_task(self._asked())
                # In a task of its own, because a share that hangs must not delay an answer.
                looked = looked or asyncio.create_task(self.look())
                done, _ = await asyncio.wait({asked}, timeout=LOOK)
                if done and asked.result():
                    self.answered()
                    return True
                if self.up:
                    return True
                if looked.done():
                    looked = None
                if done:
                    asked = None
                    await asyncio.sleep(LOOK)
            return False
        finally:
            for task in (asked, looked):
                if task is not None:
                    task.cancel()

    async def _asked(self) -> bool:
        try:
            return await self._senses.awake(self.route)
        except Exception:
            log.exception("asking %s whether it is ready failed", self.route.name)
            return False

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("the wake of %s failed", self.route.name, exc_info=error)
            self.line.fail(UnavailableError("starting", f"{self.route.name} could not be woken", 1))


def stopped_text(name: str, fault: StartFault) -> str:
    return f"{name} cannot start: {fault.message.rstrip('.')} ({fault.reason})"


def _now() -> float:
    return asyncio.get_running_loop().time()
