"""One replica as the scheduler sees it: pulls the image, starts or adopts the shim, follows its
state, runs its probes.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from . import ailment, observation, probes, processes, volumes
from .images import Image, ImagePullError, find
from .launch import LaunchError, launch
from .record import ReplicaRecord, read_record, write_spec
from .rootfs import Volume
from .shim_client import ShimClient, ShimGoneError
from .status import Observed
from .system_log import SystemLog
from .tasks import Tasks
from .workload import Refusal, Workload

_RETRY_S, _RETRY_CAP_S = 1.0, 60.0
_KILL_MARGIN_S = 5.0
_REMOUNT_S = 1.0


class _RefusedError(Exception):
    """The workload says why no replica of it can start."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.reason = refusal.reason


class Replica:
    """A replica in `directory` (= its name). `on_change` is called when its readiness or its end
    may have changed.

    `placed`: its quotas had room, and it is being created or runs. `ended`: nothing of it runs and
    its folder is gone. `terminating`: it was told to stop. A retried creation uses `workload`.
    """

    def __init__(
        self,
        directory: Path,
        record: ReplicaRecord,
        log: SystemLog,
        on_change: Callable[[], None],
        *,
        speed: float = 1.0,
        workload: Workload | None = None,
    ) -> None:
        self.record = record
        self.workload = workload
        self.placed = self.ready = self.started = self.terminating = self.ended = False
        self._speed = speed
        self._ailment = ""
        self._directory = directory
        self._log = log
        self._on_change = on_change
        self._shim = ShimClient(directory / "shim.sock", self._follow, self._lost)
        self._probes = probes.effective(record.probes, record.target_port, speed)
        self._state: dict[str, Any] = {
            "phase": "Waiting",
            "reason": "ContainerCreating",
            "pid": None,
            "restarts": 0,
        }
        self._crashes = 0
        self._passed = False
        self._tasks = Tasks()
        self._gone = asyncio.Event()
        self._told_to_stop = asyncio.Event()

    @classmethod
    async def adopt(
        cls, directory: Path, log: SystemLog, on_change: Callable[[], None], *, speed: float = 1.0
    ) -> Self:
        """Takes over a living shim with what the last scheduler knew. Raises ShimGoneError, OSError
        or ValueError.
        """
        replica = cls(directory, read_record(directory), log, on_change, speed=speed)
        state = await replica._shim.connect()
        replica.placed = True
        replica.started = bool(state["notes"].get("started"))
        replica.ready = replica._passed = bool(state["notes"].get("ready"))
        replica.terminating = bool(state.get("stopping"))
        replica._state = state
        replica._crashes = 0 if replica.ready else state["restarts"]
        if state["phase"] == "Running":
            replica._start_probes()
        return replica

    def announce(self) -> None:
        """Writes the event that it is to be placed. Without quota no further event follows, as in
        Azure.
        """
        self._event(
            "AssigningReplica", f"Replica '{self.record.name}' has been scheduled to run on a node."
        )

    def start(self, images: Path, hidden: Path) -> None:
        """Begins to create the replica; retries for as long as it is wanted."""
        self.placed = True
        self._directory.mkdir(parents=True, mode=0o700)
        self._tasks.spawn("create", self._create(images, hidden))

    @property
    def shim_socket(self) -> Path:
        return self._directory / "shim.sock"

    def observe(self, now: datetime) -> Observed:
        status = observation.replica_status(
            self._directory, self.record, self._state, ready=self.ready, started=self.started
        )
        return Observed(
            status,
            self._state["reason"],
            self._state.get("message", ""),
            observation.crashes(self._state, self._crashes, ready=self.ready),
            (now - status.created).total_seconds() * self._speed,
            self.placed,
            observation.port_mismatch(self.record, self._state, started=self.started),
        )

    def kill(self) -> None:
        """Ends its container at once; the shim starts it again."""
        ailment.kill(self._state["pid"])

    def set_ailment(self, name: str) -> None:
        """Starts an ailment, or ends it with an empty name: "crash" at every start, "hang", or
        "unready".
        """
        before, self._ailment = self._ailment, name
        if name == before:
            return
        if before == "hang":
            ailment.freeze(self.record.label, frozen=False)
        if before == "unready" and self._state["pid"] is not None:
            self._start_probes()  # a probe reports only changes
        if name == "unready":
            self._set(ready=False)
        self._strike()

    def _strike(self) -> None:
        ailment.strike(self._ailment, self.record.label, self._state["pid"])

    @property
    def claims(self) -> tuple[str, ...]:
        return self.record.claims

    def follow(self, workload: Workload) -> None:
        """Takes over the present workload, for a creation that is retried and for volumes that were
        made again.
        """
        self.workload = workload
        pid = self._state["pid"]
        if pid is not None and "remount" not in self._tasks:
            stale = volumes.stale(pid, workload.mounts)
            if stale:
                self._tasks.spawn("remount", self._remount(stale))

    async def _remount(self, stale: list[Volume]) -> None:
        """Mounts volumes again whose share was deleted and created again."""
        with contextlib.suppress(ShimGoneError):
            answer = await self._shim.request(
                "remount", volumes=[asdict(volume) for volume in stale]
            )
            for volume in stale if answer["error"] else ():
                self._event(
                    "FailedMount",
                    f"MountVolume.SetUp failed for {volume.target}: {answer['error']}",
                    warning=True,
                )
        await asyncio.sleep(_REMOUNT_S)
        self._tasks.take("remount")

    async def stop(self) -> bool:
        """Ends the container with its grace period. False: it has no SIGTERM handler, so it is
        killed when its requests are done.
        """
        self.terminating = True
        if not self.placed:
            self._lost()
            return True
        self._set(ready=False)
        await self._finish_creation()
        self._tasks.cancel()
        try:
            answer = await self._shim.request("stop", grace_s=self.record.grace_s)
        except ShimGoneError:
            self._lost()
            return True
        return bool(answer["caught"])

    async def wait_ended(self, drained: Coroutine[Any, Any, None] | None) -> None:
        """Returns when it has ended: by itself, after its grace period or after `drained`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.record.grace_s + _KILL_MARGIN_S):
                if drained is not None:
                    await _first(self._gone.wait(), drained)
                    with contextlib.suppress(ShimGoneError):
                        await self._shim.request("kill")
                await self._gone.wait()
        self._lost()

    def release(self) -> None:
        """Disconnects from the shim, which the next scheduler adopts."""
        self._tasks.cancel()
        self._shim.close()

    # -- creation
    async def _create(self, images: Path, hidden: Path) -> None:
        delay, cap = _RETRY_S / self._speed, _RETRY_CAP_S / self._speed
        while not self.terminating:
            try:
                if self.workload is not None and self.workload.refusal is not None:
                    raise _RefusedError(self.workload.refusal)
                self._prepare(images, hidden)
                await launch("infra.local_azure.runtime.shim", str(self._directory))
                self._follow(await self._shim.connect())
                return
            except _RefusedError as error:
                self._waits(error.reason, str(error))
            except ImagePullError as error:
                self._waits("ImagePullBackOff", str(error))
            except (LaunchError, ShimGoneError, OSError) as error:
                if self._has_run():
                    self._lost()
                    return
                self._waits("CreateContainerError", str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._told_to_stop.wait()
            delay = min(delay * 2, cap)

    def _has_run(self) -> bool:
        """Whether a shim that cannot be reached has run the container to its end already."""
        return False

    def _prepare(self, images: Path, hidden: Path) -> None:
        """Writes what the shim reads. A subclass runs something else than a Workload."""
        assert self.workload is not None
        names = (
            self.workload.image,
            *(step.image for step in (*self.workload.first, *self.workload.beside)),
        )
        found = {name: self._pull(images, name) for name in names}
        write_spec(self._directory, self.record, self.workload, found, hidden, self._speed)

    def _pull(self, images: Path, name: str) -> Image:
        self._event("PullingImage", f"Pulling image '{name}'")
        image = find(images, name)
        self._event("PulledImage", f"Successfully pulled image '{name}'")
        return image

    async def _finish_creation(self) -> None:
        """Wait for the creation, because a shim that is just starting must be stopped too."""
        self._told_to_stop.set()
        creation = self._tasks.take("create")
        if creation is not None:
            await asyncio.wait([creation])

    def _waits(self, reason: str, message: str) -> None:
        self._state |= {"phase": "Waiting", "reason": reason, "message": message, "pid": None}
        self._event(reason, message, warning=True)
        self._on_change()

    # -- the container's life
    def _follow(self, state: dict[str, Any]) -> None:
        """Takes a state from the shim; the container's pid tells one run from the next."""
        before, self._state = self._state, state
        if before.get("beside") != state.get("beside"):
            self._set(ready=self._passed and observation.complete(self._state))
        if (
            before["pid"] == state["pid"]
            and before["phase"] == state["phase"]
            and before["reason"] == state["reason"]
        ):
            return
        if observation.has_ended(before, state):
            self._ended_run(state)
        if state["pid"] is not None and before["pid"] != state["pid"]:
            self._event("ContainerStarted", f"Started container {self.record.container}")
            self._start_probes()
            self._strike()
        elif state["phase"] == "Waiting" and state["reason"] != "PodInitializing":
            message = (
                state.get("message")
                or f"Back-off restarting failed container {self.record.container}"
            )
            self._event(
                "ContainerBackOff" if state["reason"] == "CrashLoopBackOff" else state["reason"],
                message,
                warning=True,
            )
        self._on_change()

    def _ended_run(self, state: dict[str, Any]) -> None:
        self._tasks.cancel("probes")
        self._crashes += 1
        self.started = False
        self.ready = self._passed = False
        last = state.get("last", {})
        how = f"exit code '{last.get('code')}' and reason '{last.get('reason')}'"
        message = f"Container '{self.record.container}' was terminated with {how}"
        self._event("ContainerTerminated", message, warning=not self.terminating)

    def _lost(self) -> None:
        """The shim has ended, on request or killed. Its container must not outlive it."""
        if self.ended:
            return
        self.ended = True
        self.ready = False
        self._tasks.cancel()
        self._shim.close()
        processes.kill_all(self.record.label)
        shutil.rmtree(self._directory, ignore_errors=True)
        if not self.terminating:
            self._event(
                "ReplicaLost",
                f"Replica '{self.record.name}' ended unexpectedly and is replaced.",
                warning=True,
            )
        self._gone.set()
        self._on_change()

    def _start_probes(self) -> None:
        if not self.terminating:
            self._tasks.spawn(
                "probes", probes.run(self._probes, self._shim, self._judge, started=self.started)
            )

    async def _judge(self, verdict: probes.Verdict) -> None:
        if verdict.kind == "Readiness" and self._ailment == "unready":
            return
        probe = self._probes.get(verdict.kind)
        exhausted = not verdict.passed and probe is not None and verdict.count >= probe.failures
        if not verdict.passed and (exhausted or verdict.count & (verdict.count - 1) == 0):
            self._event(
                "ProbeFailed",
                f"Probe of {verdict.kind} failed: {verdict.message}",
                warning=True,
                count=verdict.count,
            )
        if verdict.kind == "Readiness" and (verdict.passed or exhausted):
            self._passed = verdict.passed
            self._set(ready=verdict.passed and observation.complete(self._state))
        elif verdict.kind == "Startup" and verdict.passed:
            self._set(started=True)
        elif exhausted:
            self._set(ready=False)
            self._event(
                "ContainerUnhealthy",
                f"Container {self.record.container} failed its {verdict.kind} probe, will be"
                " restarted",
                warning=True,
            )
            with contextlib.suppress(ShimGoneError):
                await self._shim.request("restart", grace_s=self.record.grace_s)
            await asyncio.Event().wait()  # the run's end cancels the probes

    def _set(self, *, ready: bool | None = None, started: bool | None = None) -> None:
        before = (self.ready, self.started)
        self.ready = self.ready if ready is None else ready
        self.started = self.started if started is None else started
        if (self.ready, self.started) == before:
            return
        if self.ready:
            self._crashes = 0
        self._tasks.spawn("note", self._note())
        self._on_change()

    async def _note(self) -> None:
        with contextlib.suppress(ShimGoneError):
            await self._shim.request("note", notes={"ready": self.ready, "started": self.started})

    def _event(self, reason: str, message: str, *, warning: bool = False, count: int = 1) -> None:
        record = self.record
        self._log.write(
            record.app_id,
            reason,
            message,
            revision=record.revision,
            replica=record.name,
            warning=warning,
            count=count,
        )


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
