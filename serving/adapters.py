"""The adapter loop of one replica: what the catalogue wants, loaded under unique names, reached through aliases.

Load the new version, flip the alias, let requests in flight finish on the old, then remove it. Nothing else is safe
in vLLM (reload in place and reload of a name both fail). engine.py does the loading, local_copy.py the copying.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from serving.catalogue import Adapter, AdapterReport, AdapterVersion, Catalogue
from serving.local_copy import AdapterError, LocalCopies
from serving.preflight import check_adapter
from serving.proof import NOT_TRIED, Proof

P = ParamSpec("P")
T = TypeVar("T")
LINGER = 2.0  # seconds a replaced version stays: longer than a request takes from choosing a version to being counted
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
log = logging.getLogger("moorage.adapters")


@dataclass(eq=False)
class Version:
    """One loaded version of one public name. `pins` counts the requests that run on it; `id` is never used twice."""

    name: str
    digest: str
    path: Path
    id: int
    pins: int = 0
    replaced_at: float | None = None
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    proof: Proof = NOT_TRIED

    @property
    def key(self) -> str:
        return f"{self.name}@{self.digest[:12]}"


class Engine(Protocol):
    """What the loop needs of an engine; serving/engine.py is vLLM's. `capacity` is how many adapters stay in memory."""

    capacity: int
    max_rank: int | None
    base_names: tuple[str, ...]

    def next_id(self) -> int: ...
    async def load(self, version: Version) -> None: ...
    async def unload(self, version: Version) -> None: ...
    async def prove(self, version: Version) -> Proof: ...
    def publish(self, name: str, version: Version | None) -> None: ...
    def busy(self, version: Version) -> bool: ...


@dataclass
class _Failure:
    reason: str
    message: str
    attempts: int
    retry_at: float


class Adapters:
    """Level-triggered: `step` compares what is wanted with what is served and starts what is missing."""

    def __init__(
        self, engine: Engine, copies: LocalCopies, base: Path | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine, self._copies, self._base, self._clock = engine, copies, base, clock
        self._wanted: dict[str, Adapter] = {}
        self._served: dict[str, Version] = {}
        self._versions: dict[str, Version] = {}
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loading = 0
        # Threads of its own: copies from a share that hangs must not take the ones that vLLM tokenizes in.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="adapters")
        self.changed = asyncio.Event()

    def want(self, catalogue: Catalogue) -> None:
        """Follow this catalogue from the next step on."""
        self._wanted = {adapter.name: adapter for adapter in catalogue.adapters}
        kept = {(a.name, v.digest) for a in catalogue.adapters for v in (a.desired, a.last_good) if v}
        self._failures = {key: failure for key, failure in self._failures.items() if key in kept}

    async def step(self) -> None:
        """Withdraw what is no longer wanted, start loading what is, unload what nobody uses; loads run on in tasks."""
        for name in [name for name in self._served if name not in self._wanted]:
            self._flip(name, None)
        for name, adapter in self._wanted.items():
            if name not in self._tasks and (version := self._next(adapter)):
                task = asyncio.create_task(self._bring(name, version), name=f"adapter {name}")
                self._tasks[name] = task
                task.add_done_callback(partial(self._done, name))
        await self._unload_unused()

    def missing(self) -> list[str]:
        """Required adapters that no version answers for."""
        return [name for name, adapter in self._wanted.items() if adapter.required and name not in self._served]

    def report(self) -> tuple[AdapterReport, ...]:
        return tuple(self._report(adapter) for adapter in self._wanted.values())

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _next(self, adapter: Adapter) -> AdapterVersion | None:
        """The version to bring now: the desired one when its time has come, else the last good one if nothing answers."""
        served = self._served.get(adapter.name)
        if served and served.digest == adapter.desired.digest:
            return None
        if self._due(adapter.name, adapter.desired):
            return adapter.desired
        if served is None and adapter.last_good and self._due(adapter.name, adapter.last_good):
            return adapter.last_good
        return None

    def _due(self, name: str, version: AdapterVersion) -> bool:
        failure = self._failures.get((name, version.digest))
        return failure is None or failure.retry_at <= self._clock()

    async def _bring(self, name: str, wanted: AdapterVersion) -> None:
        try:
            version = self._versions.get(f"{name}@{wanted.digest[:12]}") or await self._load(name, wanted)
        except AdapterError as error:
            self._failed(name, wanted, error)
            return
        adapter = self._wanted.get(name)
        if adapter and wanted in (adapter.desired, adapter.last_good):
            self._flip(name, version)
            self._failures.pop((name, wanted.digest), None)
        else:
            version.replaced_at = self._clock()

    async def _load(self, name: str, wanted: AdapterVersion) -> Version:
        if name in self._engine.base_names:
            raise AdapterError("NameTaken", f"{name} is the base model's own name")
        capacity = self._engine.capacity
        if len(self._versions) + self._loading >= capacity and name not in self._served:
            raise AdapterError("NoCapacity", f"the engine keeps {capacity} adapters in memory and has that many")
        self._loading += 1
        try:
            folder = await self._in_thread(self._copies.fetch, name, wanted)
            findings = await self._in_thread(check_adapter, folder, self._base, self._engine.max_rank)
            if findings.problems:
                raise AdapterError("PreflightFailed", "; ".join(findings.problems))
            version = Version(name, wanted.digest, folder, self._engine.next_id())
            await self._load_in_engine(version)
            return version
        finally:
            self._loading -= 1

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **options))

    async def _load_in_engine(self, version: Version) -> None:
        try:
            await self._engine.load(version)
        except Exception as error:
            raise AdapterError("LoadFailed", f"vLLM could not load it: {error}") from error
        self._versions[version.key] = version
        version.proof = await self._engine.prove(version)

    def _flip(self, name: str, version: Version | None) -> None:
        old = self._served.get(name)
        if old is version:
            return
        self._engine.publish(name, version)
        if version:
            version.replaced_at = None
            self._served[name] = version
        else:
            del self._served[name]
        if old:
            old.replaced_at = self._clock()
        log.info("adapter %s: %s -> %s", name, old.key if old else "nothing", version.key if version else "nothing")
        self.changed.set()

    def _failed(self, name: str, wanted: AdapterVersion, error: AdapterError) -> None:
        before = self._failures.get((name, wanted.digest))
        attempts = before.attempts + 1 if before else 1
        pause = min(_LAST_RETRY, _FIRST_RETRY * 2 ** (attempts - 1))
        self._failures[name, wanted.digest] = _Failure(error.reason, str(error), attempts, self._clock() + pause)
        if before is None or before.message != str(error):
            log.warning("adapter %s@%s: %s: %s", name, wanted.digest[:12], error.reason, error)
        self.changed.set()

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        if not task.cancelled() and (error := task.exception()):
            log.error("adapter %s: unexpected error", name, exc_info=error)
        self.changed.set()

    async def _unload_unused(self) -> None:
        for version in list(self._versions.values()):
            unused = version.replaced_at is not None and self._clock() - version.replaced_at >= LINGER
            # A task of this name may be about to take the version up again.
            if not unused or version.pins or version.name in self._tasks or self._engine.busy(version):
                continue
            del self._versions[version.key]
            try:
                await self._engine.unload(version)
            except Exception:
                log.exception("adapter %s could not be unloaded", version.key)
                self._versions[version.key] = version
                continue
            await self._in_thread(self._copies.remove, version.name, version.digest)
            log.info("adapter %s unloaded", version.key)

    def _report(self, adapter: Adapter) -> AdapterReport:
        served, desired = self._served.get(adapter.name), adapter.desired.digest
        failure = self._failures.get((adapter.name, desired))
        report = AdapterReport(
            name=adapter.name,
            digest=served.digest if served else None,
            desired=desired,
            state="Failed" if failure else "Loading",
            reason=failure.reason if failure else "",
            message=failure.message if failure else "",
            loaded_at=served.loaded_at if served else None,
        )
        if served and served.digest == desired:
            told = {"state": "Loaded", "reason": served.proof.reason, "message": served.proof.message}
            return report.model_copy(update=told)
        return report
