"""One execution of a job: replicas that run once, judged as a Kubernetes Job judges its pods.
`executions` keeps them all.
"""

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from . import processes
from .record import ReplicaRecord, new_attempt, read_record, strip_spec, write_task
from .replica import Replica
from .shim_client import ShimGoneError
from .system_log import SystemLog
from .workload import ReplicaStatus, Task

_BACKOFF_CAP_S = 60.0
_KILLED = 137


@dataclass(frozen=True)
class Judgement:
    """How an execution ended: `status` Succeeded or Failed, and Kubernetes' reason and message."""

    status: str
    reason: str
    message: str


class Attempt(Replica):
    """A replica that is not restarted. Its folder stays, because its log can be read later;
    `verdict` is what the shim reported at its end.
    """

    verdict: dict[str, Any] | None = None
    task: Task | None = None

    @classmethod
    async def resume(cls, directory: Path, log: SystemLog, on_change: Callable[[], None]) -> Self:
        """What a previous server left, running or ended. Raises OSError or ValueError when the
        folder holds no whole spec.
        """
        record = read_record(directory)
        if not (directory / "ended.json").exists():
            with suppress(ShimGoneError):
                return await cls.adopt(directory, log, on_change)
        attempt = cls(directory, record, log, on_change)
        attempt._lost()
        return attempt

    @property
    def succeeded(self) -> bool:
        return self.verdict is not None and self.verdict["code"] == 0

    def status(self) -> ReplicaStatus:
        return self.observe(datetime.now(UTC)).status

    async def end(self) -> None:
        """SIGTERM and the grace period for a process that handles it; a process that does not is
        killed at once.
        """
        if not await self.stop():
            with suppress(ShimGoneError):
                await self._shim.request("kill")
        await self.wait_ended(None)

    def _has_run(self) -> bool:
        # A container that crashes at once may end, with its shim, before the server has connected.
        # It must not be started again, because only the job decides about another try.
        return (self._directory / "ended.json").exists()

    def _prepare(self, images: Path, hidden: Path) -> None:
        assert self.task is not None
        first = [self._pull(images, step.image) for step in self.task.first]
        write_task(
            self._directory,
            self.record,
            self.task,
            self._pull(images, self.task.image),
            first,
            hidden,
        )

    def _lost(self) -> None:
        """The shim has ended. If it was killed together with its container, it has left no
        verdict.
        """
        if self.ended:
            return
        self.ended, self.ready = True, False
        self._tasks.cancel()
        self._shim.close()
        processes.kill_all(self.record.label)
        path = self._directory / "ended.json"
        if not path.exists():
            path.write_text(
                json.dumps({"code": _KILLED, "reason": "Error", "message": "", "at": time.time()})
            )
        self.verdict = json.loads(path.read_text())
        self._state |= {"phase": "Terminated", "reason": self.verdict["reason"], "pid": None}
        # The folder stays for its log, and secrets must not stay with it.
        strip_spec(self._directory, self.record)
        for own in ("empty", "secret"):
            shutil.rmtree(self._directory / own, ignore_errors=True)
        self._gone.set()
        self._on_change()


def judge(task: Task, succeeded: int, failed: int, now: float) -> Judgement | None:
    """The end of an execution, or None while it runs."""
    if succeeded >= task.completions:
        return Judgement("Succeeded", "Completed", f"Execution '{task.execution}' has completed")
    if failed > task.retries:
        return Judgement(
            "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        )
    if now - task.started >= task.timeout_s:
        return Judgement(
            "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
        )
    return None


def missing(task: Task, succeeded: int, failed: int, active: int, since_failure_s: float) -> int:
    """How many replicas to start now: after a failure with a pause of 1, 2, 4, ... seconds."""
    if task.blocked or (failed and since_failure_s < min(2.0 ** (failed - 1), _BACKOFF_CAP_S)):
        return 0
    # As a Kubernetes Job: never more at once than successes are still missing.
    return max(0, min(task.parallelism, task.completions - succeeded) - active)


class Execution:
    """The replicas of one execution under `directory`, oldest first. `key` is the folder's name."""

    def __init__(self, directory: Path, log: SystemLog, wake: Callable[[], None]) -> None:
        self.attempts: list[Attempt] = []
        self._directory = directory
        self._log = log
        self._wake = wake
        self._told = ""

    async def resume(self) -> None:
        """Takes over what a previous server started."""
        for folder in self._directory.iterdir():
            try:
                self.attempts.append(await Attempt.resume(folder, self._log, self._wake))
            except (OSError, ValueError, TypeError, KeyError):
                shutil.rmtree(folder, ignore_errors=True)
        self.attempts.sort(key=lambda attempt: attempt.record.created)

    @property
    def living(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if not attempt.ended]

    def advance(self, task: Task, now: float, images: Path, hidden: Path) -> Judgement | None:
        """Starts what is missing, or says how it ended; then `end` must follow."""
        ended = [attempt for attempt in self.attempts if attempt.ended]
        failures = [attempt for attempt in ended if not attempt.succeeded]
        succeeded, failed = len(ended) - len(failures), len(failures)
        outcome = judge(task, succeeded, failed, now)
        if outcome is None:
            last = max(
                (attempt.verdict["at"] for attempt in failures if attempt.verdict), default=0.0
            )
            for _ in range(missing(task, succeeded, failed, len(self.living), now - last)):
                self._start(new_attempt(task), task, images, hidden)
            self._tell_blocked(task)
        return outcome

    async def end(self) -> None:
        await asyncio.gather(*(attempt.end() for attempt in self.living))

    def release(self) -> None:
        for attempt in self.living:
            attempt.release()

    def _start(self, record: ReplicaRecord, task: Task, images: Path, hidden: Path) -> None:
        attempt = Attempt(self._directory / record.name, record, self._log, self._wake)
        attempt.task = task
        self.attempts.append(attempt)
        attempt.announce()
        attempt.start(images, hidden)

    def _tell_blocked(self, task: Task) -> None:
        if task.blocked and task.blocked != self._told:
            self._log.write(
                task.job, "FailedMount", task.blocked, revision=task.execution, warning=True
            )
        self._told = task.blocked
