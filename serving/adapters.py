"""The adapter loop of one replica: loads what the catalogue asks for under unique names, which
clients reach through aliases.

Load the new version, flip the alias, let requests in flight finish on the old, then remove it.
Nothing else is safe in vLLM (reload in place and reload of a name both fail). engine.py does the
loading, local_copy.py the copying.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from serving.catalogue import (
    Adapter,
    AdapterReason,
    AdapterReport,
    AdapterVersion,
    Catalogue,
    Expectation,
)
from serving.local_copy import AdapterError, LocalCopies
from serving.preflight import check_adapter
from serving.request.traffic import Traffic
from serving.versions import Failure, LoraEngine, Route, Version, report

Versions = dict[str, Version]  # by public name
P = ParamSpec("P")
T = TypeVar("T")
# seconds a replaced version stays: longer than a request takes from choosing a version to being
# counted
LINGER = 2.0
# seconds that readiness waits for the first attempt of an adapter that may never have worked
PATIENCE = 60.0
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
# a listing of the share may be a moment old and lack files that are there
_PASSING = {AdapterReason.NOT_PUBLISHED, AdapterReason.UNREADABLE}
# At temperature 0 a second attempt gives the same answer, so only another catalogue is a new
# attempt.
_FINAL = {AdapterReason.EVALUATION_FAILED, AdapterReason.NOT_FINITE}
log = logging.getLogger("moorage.adapters")


class Adapters:
    """Level-triggered: `step` compares what is wanted with what is served and starts what is
    missing.
    """

    def __init__(
        self,
        engine: LoraEngine,
        copies: LocalCopies,
        base: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._copies, self._base, self._clock = engine, copies, base, clock
        self._wanted: dict[str, Adapter] = {}
        self._wanted_since: float | None = None
        self._served: dict[str, Version] = {}
        self._canaries: dict[str, Version] = {}
        self._routes: dict[str, Route] = {}
        self._versions: dict[str, Version] = {}
        self._failures: dict[tuple[str, str], Failure] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loading, self._swept = 0, False
        # A thread pool of its own: copies from a share that hangs must not block the threads in
        # which vLLM tokenizes.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="adapters")
        self.changed = asyncio.Event()
        self.on_failure: Callable[[str, str], None] = lambda _name, _reason: None

    def want(self, catalogue: Catalogue) -> None:
        """Follow this catalogue from the next step on."""
        before, self._wanted = (
            self._wanted,
            {adapter.name: adapter for adapter in catalogue.adapters},
        )
        if self._wanted_since is None:
            self._wanted_since = self._clock()
        same = {name for name, adapter in self._wanted.items() if before.get(name) == adapter}
        self._failures = {key: failure for key, failure in self._failures.items() if key[0] in same}

    async def step(self) -> None:
        """Stop answering with versions that are no longer wanted, start to load those that are, and
        unload those that no request uses. Loads go on in tasks.
        """
        # Once, with the first catalogue: copies of a former run would fill the disk.
        if self._wanted and not self._swept:
            kept = {(a.name, v.digest) for a in self._wanted.values() for v in _versions(a)}
            await self._in_thread(self._copies.sweep, kept)
            self._swept = True
        # Removals first, so that their slots are free for what is loaded in this step.
        for name in (self._served.keys() | self._canaries.keys()) - self._wanted.keys():
            self._replace(self._canaries, name, None)
            self._replace(self._served, name, None)
        for name, old in list(self._canaries.items()):
            canary = self._wanted[name].canary
            same = canary is not None and canary.version.digest == old.digest
            if not same or (canary and canary.evaluation and canary.evaluation != old.met):
                self._replace(self._canaries, name, None)
        for name, adapter in self._wanted.items():
            self._publish(name)  # another weight
            if name not in self._tasks and (found := self._next(adapter)):
                task = asyncio.create_task(self._bring(name, *found), name=f"adapter {name}")
                self._tasks[name] = task
                task.add_done_callback(partial(self._done, name))
        await self._unload_unused()

    def resident(self) -> Iterator[Version]:
        """Every version that is in the engine's memory."""
        return iter(self._versions.values())

    def missing(self) -> list[str]:
        """Adapters without a version that answers, for which a new replica is not ready yet: the
        required ones that have worked before, and others whose first load may still succeed.

        One that has never worked must not keep the base model and the others from answering.
        """
        since = self._clock() if self._wanted_since is None else self._wanted_since
        patient = self._clock() - since < PATIENCE
        return [
            name
            for name, adapter in self._wanted.items()
            if name not in self._served
            and ((adapter.required and adapter.last_good) or (patient and self._may_come(adapter)))
        ]

    def _may_come(self, adapter: Adapter) -> bool:
        versions = [one for one in (adapter.desired, adapter.last_good) if one]
        failures = [self._failures.get((adapter.name, one.digest)) for one in versions]
        return any(failure is None or failure.reason in _PASSING for failure in failures)

    def report(self) -> tuple[AdapterReport, ...]:
        return tuple(
            report(
                adapter,
                self._served.get(adapter.name),
                self._canaries.get(adapter.name),
                self._failures,
            )
            for adapter in self._wanted.values()
        )

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _next(self, adapter: Adapter) -> tuple[AdapterVersion, Versions] | None:
        """The version to load now, and its place: the desired one when its next attempt is due,
        else the last good one if no version answers, else the canary. Each name loads one version
        at a time, so that no version is loaded twice.
        """
        served, canary = self._served.get(adapter.name), adapter.canary
        if served is None or served.digest != adapter.desired.digest:
            if self._due(adapter.name, adapter.desired):
                return adapter.desired, self._served
            if served is None and adapter.last_good and self._due(adapter.name, adapter.last_good):
                return adapter.last_good, self._served
        if (
            canary
            and adapter.name not in self._canaries
            and self._due(adapter.name, canary.version)
        ):
            return canary.version, self._canaries
        return None

    def _due(self, name: str, version: AdapterVersion) -> bool:
        failure = self._failures.get((name, version.digest))
        return failure is None or failure.retry_at <= self._clock()

    async def _bring(self, name: str, wanted: AdapterVersion, place: Versions) -> None:
        try:
            version = await self._loaded(name, wanted, on_trial=place is self._canaries)
        except AdapterError as error:
            self._failed(name, wanted, error)
            return
        # The catalogue may have changed during the load, which takes seconds.
        if self._belongs(name, wanted, place):
            self._replace(place, name, version)
        else:
            self._let_go(version)
        self._failures.pop((name, wanted.digest), None)

    def _belongs(self, name: str, wanted: AdapterVersion, place: Versions) -> bool:
        """Whether the current catalogue still wants the version in this place, because the load
        took a while. The place counts: a canary may be the version that was good before.
        """
        adapter = self._wanted.get(name)
        if adapter is None:
            return False
        if place is self._canaries:
            return adapter.canary is not None and wanted == adapter.canary.version
        return wanted == adapter.desired or (
            name not in self._served and wanted == adapter.last_good
        )

    async def _loaded(self, name: str, wanted: AdapterVersion, *, on_trial: bool) -> Version:
        """Load the version unless the engine has it, and check that it passes the evaluation of the
        current catalogue.
        """
        version = self._versions.get(f"{name}@{wanted.digest[:12]}") or await self._load(
            name, wanted
        )
        if version.proof.reason == AdapterReason.NOT_FINITE:
            self._let_go(version)
            raise AdapterError(AdapterReason.NOT_FINITE, version.proof.message)
        evaluation = _evaluation(self._wanted.get(name), wanted, on_trial=on_trial)
        await self._evaluate(version, evaluation)
        return version

    async def _load(self, name: str, wanted: AdapterVersion) -> Version:
        adapter = self._wanted.get(name)
        if name in self._engine.base_names:
            raise AdapterError(AdapterReason.NAME_TAKEN, f"{name} is the base model's own name")
        capacity = self._engine.capacity
        # A new version may take the slot of one that goes, so a full engine can still follow.
        replaces = name in self._served and adapter is not None and wanted == adapter.desired
        # An engine without any slot has a model that takes no LoRA, which preflight explains
        # better.
        if capacity and len(self._versions) + self._loading >= capacity and not replaces:
            raise AdapterError(
                AdapterReason.NO_CAPACITY,
                f"the engine keeps {capacity} adapters in memory and has that many",
            )
        self._loading += 1
        began = self._clock()
        try:
            folder = await self._in_thread(self._copies.fetch, name, wanted)
            findings = await self._in_thread(
                check_adapter, folder, self._base, self._engine.max_rank
            )
            if findings.problems:
                raise AdapterError(AdapterReason.PREFLIGHT_FAILED, "; ".join(findings.problems))
            version = Version(name, wanted.digest, folder, self._engine.next_id())
            await self._load_in_engine(version)
            version.load_seconds = self._clock() - began
            return version
        finally:
            self._loading -= 1

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, partial(function, *args, **options)
        )

    async def _load_in_engine(self, version: Version) -> None:
        try:
            await self._engine.load(version)
        except Exception as error:
            raise AdapterError(
                AdapterReason.LOAD_FAILED, f"vLLM could not load it: {error}"
            ) from error
        self._versions[version.key] = version
        version.proof = await self._engine.prove(version)

    async def _evaluate(self, version: Version, evaluation: tuple[Expectation, ...]) -> None:
        """Run the evaluation, unless the version has passed it. A version that fails is
        unloaded.
        """
        if not evaluation or version.met == evaluation:
            return
        self._let_go(version)
        try:
            fault = await self._engine.evaluate(version, evaluation)
        except Exception as error:
            raise AdapterError(
                AdapterReason.EVALUATION_BROKEN, f"the evaluation could not run: {error}"
            ) from error
        if fault:
            raise AdapterError(AdapterReason.EVALUATION_FAILED, fault)
        version.met = evaluation

    def _replace(self, versions: Versions, name: str, version: Version | None) -> None:
        """Put `version` in its place, served or canary, and release the one that was there."""
        old = versions.get(name)
        if old is version:
            return
        if version:
            version.replaced_at = None
            versions[name] = version
            if versions is self._canaries:
                version.traffic, version.loaded_at = (
                    Traffic(),
                    datetime.now(UTC),
                )  # a trial counts from zero
        else:
            del versions[name]
        if old:
            self._let_go(old)
        what = "canary of " if versions is self._canaries else ""
        log.info(
            "adapter %s%s: %s -> %s",
            what,
            name,
            old.key if old else "nothing",
            version.key if version else "nothing",
        )
        self._publish(name)
        self.changed.set()

    def _let_go(self, version: Version) -> None:
        """Allow the version to be unloaded, unless it still answers in another place."""
        if version not in (self._served.get(version.name), self._canaries.get(version.name)):
            version.replaced_at = self._clock()

    def _publish(self, name: str) -> None:
        """Update the aliases in the engine: a single assignment, which the next call sees."""
        stable, adapter = self._served.get(name), self._wanted.get(name)
        canary = self._canaries.get(name)
        weight = adapter.canary.weight if adapter and adapter.canary and canary else 0
        route = Route(stable, canary if weight else None, weight) if stable else None
        if route == self._routes.get(name):
            return
        self._engine.publish(name, route)
        if route:
            self._routes[name] = route
        else:
            del self._routes[name]

    def _failed(self, name: str, wanted: AdapterVersion, error: AdapterError) -> None:
        self.on_failure(name, error.reason)
        before = self._failures.get((name, wanted.digest))
        attempts = before.attempts + 1 if before else 1
        pause = (
            math.inf
            if error.reason in _FINAL
            else min(_LAST_RETRY, _FIRST_RETRY * 2 ** (attempts - 1))
        )
        self._failures[name, wanted.digest] = Failure(
            error.reason, str(error), attempts, self._clock() + pause
        )
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
            unused = (
                version.replaced_at is not None and self._clock() - version.replaced_at >= LINGER
            )
            # A running task of this name may be about to use the version again.
            if (
                not unused
                or version.pins
                or version.name in self._tasks
                or self._engine.busy(version)
            ):
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


def _versions(adapter: Adapter) -> Iterator[AdapterVersion]:
    yield from (version for version in (adapter.desired, adapter.last_good) if version)
    if adapter.canary:
        yield adapter.canary.version


def _evaluation(
    adapter: Adapter | None, wanted: AdapterVersion, *, on_trial: bool
) -> tuple[Expectation, ...]:
    if adapter is None:
        return ()
    if on_trial:
        canary = adapter.canary
        return canary.evaluation if canary and wanted == canary.version else ()
    return adapter.evaluation if wanted == adapter.desired else ()
