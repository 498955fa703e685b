"""One replica as the scheduler sees it: pulls the image, starts or adopts the shim, follows its
state, runs its probes.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from . import listening, probes, processes, volumes
from .images import Image, ImagePullError, find
from .launch import LaunchError, launch
from .record import Record, read_record, write_spec
from .rootfs import Volume
from .shim_client import ShimClient, ShimGoneError
from .sidecar import console_name
from .status import Observed, container_details
from .system_log import SystemLog
from .workload import Refusal, ReplicaStatus, SidecarStatus, Workload

_logger = logging.getLogger(__name__)
_RETRY_S, _RETRY_CAP_S = 1.0, 60.0
_KILL_MARGIN_S = 5.0
_REMOUNT_S = 1.0


class _RefusedError(Exception):
    """The workload says why no replica of it can start."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.reason = refusal.reason


class Replica:
    """A replica in `directory` (= its name). `on_change` is called whenever its readiness or its
    end may have changed.

    `placed`: it was given what its quotas ration, and is being created or runs. `ended`: nothing of
    it runs any more and the folder is gone. `terminating`: it was told to stop. `workload` is what
    a creation that is tried again takes.
    """

    def __init__(
        self,
        directory: Path,
        record: Record,
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
        self._tasks: dict[str, asyncio.Task[None]] = {}
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
        """Says that it is to be placed. Where quota is lacking that is the last word of it, as in
        Azure.
        """
        self._event(
            "AssigningReplica", f"Replica '{self.record.name}' has been scheduled to run on a node."
        )

    def start(self, images: Path, hidden: Path) -> None:
        """Begins to create the replica; retries for as long as it is wanted."""
        self.placed = True
        self._directory.mkdir(parents=True, mode=0o700)
        self._spawn("create", self._create(images, hidden))

    @property
    def shim_socket(self) -> Path:
        return self._directory / "shim.sock"

    def observe(self, now: datetime) -> Observed:
        created = datetime.fromisoformat(self.record.created)
        status = ReplicaStatus(
            name=self.record.name,
            created=created,
            ready=self.ready,
            started=self.started,
            restart_count=self._state["restarts"],
            running_state=self._state["phase"],
            details=container_details(self._state, self.record.container),
            pid=self._state["pid"],
            log=self._directory / "console.log",
            beside=tuple(self._sidecar(entry) for entry in self._state.get("beside", ())),
        )
        crashes = max(self._crashes, int(self._state["reason"] == "CrashLoopBackOff"))
        crashes = max(
            [
                crashes,
                *(entry["restarts"] for entry in self._state.get("beside", ()) if not self.ready),
            ]
        )
        age = (now - created).total_seconds() * self._speed
        message = self._state.get("message", "")
        return Observed(
            status, self._state["reason"], message, crashes, age, self.placed, self._mismatch()
        )

    def _mismatch(self) -> str:
        """What Azure says of a container that is up and listens elsewhere."""
        target, pid = self.record.target_port, self._state["pid"]
        if self.started or target is None or pid is None:
            return ""
        found = listening.ports(pid)
        if not found or target in found:
            return ""
        return f"The TargetPort {target} does not match the listening port {min(found)}."

    def kill(self) -> None:
        """Ends its container at once and without a word, as a node that fails does; the shim starts
        it again.
        """
        if self._state["pid"] is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._state["pid"], signal.SIGKILL)

    def freeze(self, *, frozen: bool) -> None:
        """Stops every process of it, or lets them go on: a replica that hangs."""
        for pid in processes.labelled(self.record.label):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    @property
    def claims(self) -> tuple[str, ...]:
        return self.record.claims

    def follow(self, workload: Workload) -> None:
        """Takes the workload as it is now: for a creation that is tried again, and for volumes that
        came back.
        """
        self.workload = workload
        pid = self._state["pid"]
        if pid is not None and "remount" not in self._tasks:
            stale = volumes.stale(pid, workload.mounts)
            if stale:
                self._spawn("remount", self._remount(stale))

    async def _remount(self, stale: list[Volume]) -> None:
        """What a mounted share does by itself when it is there again."""
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
        self._tasks.pop("remount", None)

    def suffer(self, ailment: str) -> None:
        """Makes it ill, or well again with an empty word: "crash" at every start, "hang", or
        "unready" for ever.
        """
        before, self._ailment = self._ailment, ailment
        if ailment == before:
            return
        if before == "hang":
            self.freeze(frozen=False)
        if before == "unready" and self._state["pid"] is not None:
            self._start_probes()  # they speak only when something changes
        if ailment == "unready":
            self._set(ready=False)
        self._strike()

    def _strike(self) -> None:
        """Lets an ailment take hold of a running container."""
        if self._ailment == "crash":
            self.kill()
        elif self._ailment == "hang":
            self.freeze(frozen=True)

    async def stop(self) -> bool:
        """Ends the container with its grace period. False: it has no SIGTERM handler, so it only
        deserves to finish requests.
        """
        self.terminating = True
        if not self.placed:
            self._lost()
            return True
        self._set(ready=False)
        await self._finish_creation()
        self._cancel()
        try:
            answer = await self._shim.request("stop", grace_s=self.record.grace_s)
        except ShimGoneError:
            self._lost()
            return True
        return bool(answer["caught"])

    async def wait_ended(self, drained: Coroutine[Any, Any, None] | None) -> None:
        """Returns when nothing of it is left: after its own end, its grace period, or (when given)
        `drained`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.record.grace_s + _KILL_MARGIN_S):
                if drained is not None:
                    await _first(self._gone.wait(), drained)
                    with contextlib.suppress(ShimGoneError):
                        await self._shim.request("kill")
                await self._gone.wait()
        self._lost()

    def release(self) -> None:
        """Lets go of a living shim, for the next scheduler."""
        self._cancel()
        self._shim.close()

    # -- creation
    # ------------------------------------------------------------

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
                self._waits("CreateContainerError", str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._told_to_stop.wait()
            delay = min(delay * 2, cap)

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
        """A shim that is just starting must be stopped, not forgotten."""
        self._told_to_stop.set()
        creation = self._tasks.pop("create", None)
        if creation is not None:
            await asyncio.wait([creation])

    def _waits(self, reason: str, message: str) -> None:
        self._state |= {"phase": "Waiting", "reason": reason, "message": message, "pid": None}
        self._event(reason, message, warning=True)
        self._on_change()

    # -- the container's life
    # ------------------------------------------------------------

    def _follow(self, state: dict[str, Any]) -> None:
        """Takes a state from the shim; the container's pid tells one run from the next."""
        before, self._state = self._state, state
        if before.get("beside") != state.get("beside"):
            self._set(ready=self._passed and self._complete())
        if (
            before["pid"] == state["pid"]
            and before["phase"] == state["phase"]
            and before["reason"] == state["reason"]
        ):
            return
        if before["pid"] is not None and before["pid"] != state["pid"]:
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
        self._cancel("probes")
        self._crashes += 1
        self.started = False
        self.ready = self._passed = False
        last = state.get("last", {})
        how = f"exit code '{last.get('code')}' and reason '{last.get('reason')}'"
        message = f"Container '{self.record.container}' was terminated with {how}"
        self._event("ContainerTerminated", message, warning=not self.terminating)

    def _lost(self) -> None:
        """The shim has ended: by order, or killed, and then its container must not outlive it."""
        if self.ended:
            return
        self.ended = True
        self.ready = False
        self._cancel()
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
            self._spawn(
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
            self._set(ready=verdict.passed and self._complete())
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
        self._spawn("note", self._note())
        self._on_change()

    def _complete(self) -> bool:
        """Whether the containers beside the first one run, as a pod's readiness asks."""
        return all(entry["phase"] == "Running" for entry in self._state.get("beside", ()))

    def _sidecar(self, state: dict[str, Any]) -> SidecarStatus:
        log = self._directory / console_name(state["name"])
        return SidecarStatus(
            state["name"],
            state["restarts"],
            state["phase"],
            container_details(state, state["name"]),
            log,
        )

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

    def _spawn(self, name: str, work: Any) -> None:
        self._cancel(name)
        self._tasks[name] = task = asyncio.create_task(work)
        task.add_done_callback(_report_failure)

    def _cancel(self, *names: str) -> None:
        for name in names or tuple(self._tasks):
            task = self._tasks.pop(name, None)
            if task is not None and task is not asyncio.current_task():
                task.cancel()


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("a replica's task failed", exc_info=error)
