"""The stage of a replica's start, which launch.py follows. vLLM's workers cannot reach launch, so
they mark in a file when they read weights and when they compile. The replica itself reports the
other stages.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from serving.catalogue import STAGES, Stage

MARKS_VARIABLE = "MOORAGE_STAGE_MARKS"  # the file's path
_MOST = 64 << 10  # bytes of the file that are read
_WORKERS = "vllm.v1.worker.worker_base"


class StartStages:
    """The stages of one start. A stage is never left for an earlier one: the first worker that
    reaches a stage begins it for all.
    """

    def __init__(self, marks: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._marks, self._clock = marks, clock
        self._began: dict[Stage, float] = {"runtime": clock()}
        self._ended: float | None = None

    @property
    def stage(self) -> Stage | None:
        """The stage under way; None once the start is over."""
        return None if self._ended is not None else max(self._began, key=STAGES.index)

    @property
    def seconds(self) -> dict[Stage, float]:
        """The seconds that each finished stage took."""
        order = sorted(self._began, key=STAGES.index)
        times = [self._began[stage] for stage in order]
        if self._ended is not None:
            times.append(self._ended)
        return {
            stage: round(max(0.0, end - begin), 3)
            for stage, begin, end in zip(order, times, times[1:], strict=False)
        }

    def look(self) -> None:
        """Read what the workers have marked."""
        if self._marks is None or self._ended is not None:
            return
        try:
            with self._marks.open("rb") as file:
                lines = file.read(_MOST).decode(errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            name, _, at = line.partition(" ")
            with suppress(ValueError):
                self._reach(name, float(at))

    def reach(self, stage: str | None) -> None:
        """Take over the stage that the replica itself reports; None when it is ready."""
        self.look()  # what the workers marked was before
        if stage is not None:
            self._reach(stage, self._clock())
        elif self._ended is None:
            self._ended = self._clock()

    def _reach(self, name: str, at: float) -> None:
        stage = next((each for each in STAGES if each == name), None)
        now = self.stage
        if now is None or stage is None or not at >= self._began["runtime"]:  # a NaN is neither
            return
        if stage in self._began or STAGES.index(stage) > STAGES.index(now):
            self._began[stage] = min(at, self._began.get(stage, at))


def mark(stage: Stage) -> None:
    """Add a line to the file, if there is one. Never raises: a start must not fail for it."""
    path = os.environ.get(MARKS_VARIABLE)
    if not path:
        return
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{stage} {time.monotonic():.3f}\n".encode())


def follow_worker() -> None:
    """Make the worker of this process, if it gets one, mark its stages. The class of the worker
    depends on the platform, so its methods are wrapped on the object, once it has its device.
    """
    wrapper: Any = getattr(sys.modules.get(_WORKERS), "WorkerWrapperBase", None)
    prepare = getattr(wrapper, "init_device", None)
    if prepare is None or hasattr(prepare, "__wrapped__"):
        return

    @functools.wraps(prepare)
    def init_device(self: Any) -> Any:
        result = prepare(self)
        self.worker.load_model = _marked(self.worker.load_model)
        return result

    wrapper.init_device = init_device


def _marked(load: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load)
    def load_model(*given: Any, **named: Any) -> Any:
        mark("weights")
        result = load(*given, **named)
        mark("compile")
        return result

    return load_model
