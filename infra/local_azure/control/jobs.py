"""From stored executions to running tasks and back, and the schedules that start executions by
themselves. Owns the runtime's `Executions`.

Level-triggered: `changed` may be called at any time and as often as needed.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from cronsim import CronSim

from infra.local_azure import clock
from infra.local_azure.arm import ids
from infra.local_azure.runtime.execution import Attempt, Judgement
from infra.local_azure.runtime.executions import Executions
from infra.local_azure.runtime.workload import Step, Task
from infra.local_azure.store import Record, Store

from . import mounts, naming, quotas
from .mounts import MountError, Mounts
from .vaults import Vaults

KEPT = 100
_LATE_S = 60.0  # a start that was missed by more than this, because the server was off, is skipped
Body = dict[str, Any]
log = logging.getLogger(__name__)


class JobControl:
    """Starts, watches and forgets executions."""

    def __init__(self, store: Store, executions: Executions, mounts: Mounts) -> None:
        self._store = store
        self._executions = executions
        self._mounts = mounts
        self._pending = False
        self._scheduled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        executions.on_end = self._ended

    async def start(self) -> None:
        await self._executions.start()
        self._compose()
        self._task = asyncio.create_task(self._keep_time())

    async def stop(self, *, terminate: bool) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._executions.stop(terminate=terminate)

    def changed(self) -> None:
        """Something stored changed: compare it with the runtime once, when the running request is
        done.
        """
        if not self._pending:
            self._pending = True
            asyncio.get_running_loop().call_soon(self._compose)
        self._scheduled.set()

    def begin(self, job: Record, name: str, template: Body) -> Record:
        """A new execution with the settings and secrets that the job has now."""
        configuration = job.body["properties"]["configuration"]
        counts = configuration[f"{configuration['triggerType'].lower()}TriggerConfig"]
        limits = {
            "timeout": configuration["replicaTimeout"],
            "retries": configuration["replicaRetryLimit"],
        }
        private = {
            **limits,
            **{key: counts[key] for key in ("parallelism", "replicaCompletionCount")},
        }
        private["secrets"] = Vaults(self._store).values(job)
        body = {"status": "Running", "started": clock.now(), "template": template}
        record = Record(f"{job.id}/executions/{name}", naming.EXECUTION, body, private)
        with self._store.transaction():
            self._store.put(record)
            self._forget_old(job)
        self.changed()
        return record

    def attempts(self, execution: Record) -> list[Attempt]:
        return self._executions.attempts(_key(execution))

    def system_log(self, job: str) -> Path:
        return self._executions.system_log(job)

    def warn(self, job: str, reason: str, message: str) -> None:
        self._executions.warn(job, reason, message)

    def _forget_old(self, job: Record) -> None:
        """Only so many executions are kept; one that runs is never forgotten."""
        known = self._store.each(naming.EXECUTION, job.id)
        for record in [record for record in known[:-KEPT] if record.body["status"] != "Running"]:
            self._store.delete(record.key)

    def _compose(self) -> None:
        self._pending = False
        tasks, kept = [], set()
        for job in self._store.each(naming.JOB):
            for execution in self._store.each(naming.EXECUTION, job.id):
                kept.add(_key(execution))
                if execution.body["status"] == "Running" and not self._goes(job):
                    tasks.append(self._compose_task(job, execution))
        self._executions.set_tasks(tasks, kept)

    def _goes(self, job: Record) -> bool:
        """Whether the job or its group is being deleted."""
        group = self._store.get(ids.group_id(job.id))
        gone = group is None or group.body["properties"]["provisioningState"] == "Deleting"
        return gone or bool(job.body["properties"]["provisioningState"] == "Deleting")

    def _compose_task(self, job: Record, execution: Record) -> Task:
        template, private = execution.body["template"], execution.private
        environment = self._store.get(job.private["environment"])
        container, blocked, steps = template["containers"][0], "", []
        try:
            steps = [
                self._step(job, execution, entry)
                for entry in [*(template["initContainers"] or []), container]
            ]
        # As in Azure, the execution exists all the same and its replica says why it does not start.
        except MountError as refused:
            blocked = f"Container '{container['name']}' cannot start: {refused}"
        last = steps[-1] if steps else Step(container["name"], container["image"], (), (), {}, ())
        return Task(
            key=_key(execution),
            job=job.name,
            execution=execution.name,
            image=last.image,
            command=last.command,
            args=last.args,
            env=last.env,
            mounts=last.mounts,
            first=tuple(steps[:-1]),
            started=execution.body["started"],
            timeout_s=float(private["timeout"]),
            retries=int(private["retries"]),
            parallelism=int(private["parallelism"]),
            completions=int(private["replicaCompletionCount"]),
            probes=tuple(container.get("probes", ())),
            blocked=blocked,
            gpu=environment is not None
            and quotas.has_gpu(environment, job.body["properties"]["workloadProfileName"]),
        )

    def _step(self, job: Record, execution: Record, container: Body) -> Step:
        """One container of an execution; each of its replicas has EmptyDir volumes of its own."""
        return Step(
            name=container["name"],
            image=container["image"],
            command=tuple(container.get("command", ())),
            args=tuple(container.get("args", ())),
            env=mounts.environment(container, execution.private["secrets"]),
            mounts=self._mounts.of(
                job.private["environment"],
                execution.body["template"],
                container,
                execution.private["secrets"],
            ),
        )

    def _ended(self, task: Task, outcome: Judgement) -> None:
        for job in self._store.each(naming.JOB):
            record = self._store.get(f"{job.id}/executions/{task.execution}")
            if (
                record is not None
                and _key(record) == task.key
                and record.body["status"] == "Running"
            ):
                said = {
                    "status": outcome.status,
                    "reason": outcome.reason,
                    "message": outcome.message,
                }
                record.body |= {**said, "ended": clock.now()}
                self._store.put(record)

    # -- schedules
    async def _keep_time(self) -> None:
        """Sleeps until the next schedule is due or a job changes."""
        while True:
            due = None
            try:
                due = self.fire(clock.now())
            except Exception:
                log.exception("the job schedules failed")
            wait = 60.0 if due is None else max(0.05, due - clock.now())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._scheduled.wait()
            self._scheduled.clear()

    def fire(self, now: float) -> float | None:
        """Starts what is due now; gives the instant at which something is due next."""
        upcoming = []
        for job in self._scheduled_jobs():
            expression = job.body["properties"]["configuration"]["scheduleTriggerConfig"][
                "cronExpression"
            ]
            after = max(float(job.private["fired"]), now - _LATE_S)
            for due in _times(expression, after):
                if due > now:
                    upcoming.append(due)
                    break
                job.private["fired"] = due
                self._store.put(job)
                self.begin(job, f"{job.name}-{int(due // 60)}", job.body["properties"]["template"])
        return min(upcoming, default=None)

    def _scheduled_jobs(self) -> Iterator[Record]:
        for job in self._store.each(naming.JOB):
            properties = job.body["properties"]
            settled = (
                properties["provisioningState"] == "Succeeded" and not job.private["suspended"]
            )
            if (
                settled
                and properties["configuration"]["triggerType"] == "Schedule"
                and not self._goes(job)
            ):
                yield job


def _times(expression: str, after: float) -> Iterator[float]:
    """The instants of a schedule in UTC, later than `after`."""
    floor = clock.moment(after)
    for when in CronSim(expression, floor.replace(second=0, microsecond=0) - timedelta(minutes=1)):
        if when > floor:
            yield when.timestamp()


def _key(execution: Record) -> str:
    """A folder's name: execution names are unique in their job only."""
    return f"{execution.name}-{hashlib.sha256(execution.key.encode()).hexdigest()[:8]}"
