"""Keeps the wanted executions of jobs running, as `scheduler` does for revisions. Driven by
`control.jobs`.

Level-triggered: a wanted execution without replicas gets them, and one that is not wanted is ended.
The folder of a finished execution stays, for its log, until its key is no longer kept.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from .execution import Attempt, Execution, Judgement
from .system_log import SystemLog
from .workload import Task

_PASS_S = 0.5
_logger = logging.getLogger(__name__)


class Executions:
    """Runs tasks under `state_dir`/executions. `on_end` is called once for each task that has ended
    by itself.
    """

    def __init__(self, state_dir: Path, images: Path) -> None:
        self._state_dir = state_dir.absolute()
        self._directory = self._state_dir / "executions"
        self._images = images
        self._log = SystemLog(self._state_dir / "system" / "jobs")
        self._tasks: dict[str, Task] | None = None
        self._executions: dict[str, Execution] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._kept: Collection[str] = ()
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self.on_end: Callable[[Task, Judgement], None] = lambda _task, _outcome: None

    async def start(self) -> None:
        """Takes over what a previous server started; nothing is stopped before the first
        `set_tasks`.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in self._directory.iterdir():
            await self._execution(folder.name).resume()
        self._loop_task = asyncio.create_task(self._loop())

    async def stop(self, *, terminate: bool) -> None:
        """With `terminate` every replica ends; without, the next server adopts them."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop_task
        if terminate:
            for key in self._executions:
                self._end(key)
            await asyncio.gather(*list(self._ending.values()))
        for ending in list(self._ending.values()):
            ending.cancel()
        for execution in self._executions.values():
            execution.release()

    def set_tasks(self, tasks: Sequence[Task], kept: Collection[str]) -> None:
        """Makes `tasks` the whole wanted set; the folders of all other keys but the
        `kept` ones go.
        """
        self._tasks = {task.key: task for task in tasks}
        self._kept = kept
        self._wake_up()

    def attempts(self, key: str) -> list[Attempt]:
        """The replicas of an execution, ended ones included, oldest first."""
        execution = self._executions.get(key)
        return execution.attempts if execution else []

    def system_log(self, job: str) -> Path:
        return self._log.path(job)

    def warn(self, job: str, reason: str, message: str) -> None:
        """A warning among the system events of a job."""
        self._log.write(job, reason, message, warning=True)

    async def _loop(self) -> None:
        while True:
            try:
                self._pass()
            except Exception:
                _logger.exception("a pass over the executions failed; the next one tries again")
            with suppress(TimeoutError):
                async with asyncio.timeout(_PASS_S if self._tasks else None):
                    await self._wake.wait()
            self._wake.clear()

    def _pass(self) -> None:
        if self._tasks is None:
            return
        for key, task in list(self._tasks.items()):
            outcome = self._execution(key).advance(task, time.time(), self._images, self._state_dir)
            if outcome is not None:
                self._log.write(task.job, outcome.reason, outcome.message, revision=task.execution)
                del self._tasks[key]
                self.on_end(task, outcome)
        for key in [key for key in self._executions if key not in self._tasks]:
            self._end(key)

    def _execution(self, key: str) -> Execution:
        if key not in self._executions:
            directory = self._directory / key
            directory.mkdir(mode=0o700, exist_ok=True)
            self._executions[key] = Execution(directory, self._log, self._wake_up)
        return self._executions[key]

    def _end(self, key: str) -> None:
        """Ends the execution's replicas, and removes its folder if its key is no longer kept."""
        execution = self._executions[key]
        # Looked at again when they have ended: a folder in use must not be removed.
        if execution.living:
            if key not in self._ending:
                self._ending[key] = asyncio.create_task(self._ended(key, execution))
        elif key not in self._kept:
            del self._executions[key]
            shutil.rmtree(self._directory / key, ignore_errors=True)

    async def _ended(self, key: str, execution: Execution) -> None:
        await execution.end()
        del self._ending[key]
        self._wake_up()

    def _wake_up(self) -> None:
        self._wake.set()
