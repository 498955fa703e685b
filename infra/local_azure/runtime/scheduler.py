"""Keeps the wanted revisions running: replicas, probes, scale and routes. Driven by the ARM server.

Level-triggered: every pass compares the whole wanted set with the running replicas, whichever
started them.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from . import placement, processes, routes
from .edge import Edge
from .memory import Memory
from .record import new_record, read_record
from .replica import Replica
from .scale import Demand, desired
from .schedule import scheduled
from .shim_client import ShimGoneError
from .status import Observed, revision_status
from .system_log import SystemLog
from .workload import ReplicaStatus, RevisionStatus, Workload

__all__ = ["ReplicaStatus", "RevisionStatus", "Scheduler", "Workload"]

_PASS_S = 0.5
_SETTLE_S = (
    0.3  # between leaving the ingress and SIGTERM: requests already handed over reach the process
)
_logger = logging.getLogger(__name__)


class Scheduler:
    """Runs workloads under `state_dir` (the local Azure's own folder: replicas/, system/,
    ingress.sock are made in it).

    `images` is the file that maps images to environments; `tls` is certificate and key of the
    ingress, which cuts every request after `request_timeout_s` (Azure: 240), also one that waits
    for a replica. `speed` is how many of Azure's seconds pass in one of this machine: cooldowns,
    probes, grace and back-off shrink by it, and so does the ingress's limit.
    """

    def __init__(
        self,
        state_dir: Path,
        images: Path,
        tls: tuple[Path, Path],
        *,
        request_timeout_s: float = 240.0,
        speed: float = 1.0,
    ) -> None:
        self._state_dir = state_dir.absolute()
        self._images = images
        self._speed = speed
        self._log = SystemLog(self._state_dir / "system")
        self._memory = Memory(self._state_dir / "revisions.json")
        self._edge = Edge(self._state_dir, tls, self._wake_up)
        self._routes = routes.Routes(request_timeout_s / speed)
        self._workloads: dict[str, Workload] | None = None
        self._quotas: Mapping[str, int] = {}
        self._ailments: Mapping[str, str] = {}
        self._replicas: list[Replica] = []
        self._demands: dict[str, Demand] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._told_ports: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None

    def reach(self, port: int) -> None:
        """Let replicas reach this port of the machine, besides those of apps."""
        self._routes.azure = port

    async def start(self) -> None:
        """Adopts living shims and the ingress, removes what is left of dead ones, starts the loop.

        Nothing is stopped or routed again before the first `set_workloads`.
        """
        self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._adopt()
        self._edge.start()
        self._loop_task = asyncio.create_task(self._loop())

    async def stop(self, *, terminate: bool) -> None:
        """Stops scheduling. With `terminate` every replica and the ingress end too; without, the
        next scheduler adopts them.
        """
        if self._loop_task is not None:
            self._loop_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop_task
        if terminate:
            self._workloads = {}
            self._pass()
            # One replica that cannot be ended must not keep the others and the ingress.
            for failed in await asyncio.gather(*self._retiring, return_exceptions=True):
                if isinstance(failed, Exception):
                    _logger.error("a replica was not ended: %s", failed, exc_info=failed)
        for task in self._retiring:
            task.cancel()
        for replica in self._replicas:
            replica.release()
        await self._edge.stop(terminate=terminate)

    def set_workloads(
        self, workloads: Sequence[Workload], quotas: Mapping[str, int] | None = None
    ) -> None:
        """Makes `workloads` the whole wanted set, and `quotas` what their claims may take; what
        runs keeps what it has.
        """
        self._workloads = {workload.key: workload for workload in workloads}
        self._quotas = quotas or {}
        self._memory.keep_active(self._workloads)
        self._wake_up()

    def set_ailments(self, ailments: Mapping[str, str]) -> None:
        """Sets which apps have failing replicas: app id -> "crash", "hang" or "unready"."""
        self._ailments = {app_id.lower(): ailment for app_id, ailment in ailments.items()}
        self._wake_up()

    def kill(self, replica: str) -> bool:
        """Kills the container of one replica, which its shim starts again. False when no such
        replica runs.
        """
        found = [each for each in self._living() if each.record.name == replica]
        for each in found:
            each.kill()
        return bool(found)

    def status(self, key: str) -> RevisionStatus:
        """The health now of the revision with this `Workload.key`; of an unknown or inactive
        revision too.
        """
        now = datetime.now(UTC)
        observed = [_observed(each, now) for each in self._replicas if each.record.key == key]
        known = self._memory.of(key)
        return revision_status(
            (self._workloads or {}).get(key), observed, proven=known.proven, booted=known.booted
        )

    def used(self) -> Mapping[str, int]:
        """How much of each quota is taken now."""
        return placement.used(self._claimants())

    async def restart(self, key: str) -> None:
        """Replaces every replica of the revision: an old one goes for each new one that
        is ready.
        """
        self._memory.update(key, epoch=self._memory.of(key).epoch + 1)
        self._wake_up()

    def system_log(self, app_id: str) -> Path:
        """JSON lines of the app's system events; the file may not exist yet."""
        return self._log.path(app_id)

    # -- the loop
    async def _loop(self) -> None:
        while True:
            try:
                self._pass()
            except Exception:
                _logger.exception("a scheduling pass failed; the next one tries again")
            with suppress(TimeoutError):
                async with asyncio.timeout(_PASS_S):
                    await self._wake.wait()
            self._wake.clear()

    def _pass(self) -> None:
        # The store has not been read since the start: running replicas may be wanted.
        if self._workloads is None:
            return
        self._replicas = [replica for replica in self._replicas if not replica.ended]
        self._demands = {
            key: demand for key, demand in self._demands.items() if key in self._workloads
        }
        now = time.monotonic() * self._speed
        living: dict[str, list[Replica]] = {}
        for replica in self._living():
            living.setdefault(replica.record.key, []).append(replica)
        for workload in self._workloads.values():
            self._scale(workload, living.get(workload.key, []), now)
        for replica in self._living():
            if replica.record.key not in self._workloads:
                self._retire(replica)
            replica.set_ailment(self._ailments.get(replica.record.app_id.lower(), ""))
        # After the retirements, so that freed quota is used in the same pass.
        for replica in placement.place(self._claimants(), self._quotas):
            replica.start(self._images, self._state_dir)
        self._push()
        self._tell_failed_ports(self._workloads.values())

    def _scale(self, workload: Workload, mine: Sequence[Replica], now: float) -> None:
        """`mine` are the living replicas of the workload."""
        demand = self._demand(workload, len(mine), now)
        demand.observe(now, self._edge.load.get(workload.key, {}).get("in_flight", 0))
        timed = scheduled(workload.schedules, datetime.now(UTC)) if workload.schedules else 0
        if timed:
            demand.need(now, timed)  # the cooldown period counts from its end
        wanted = desired(
            demand,
            now,
            minimum=min(max(workload.min_replicas, timed), workload.max_replicas),
            maximum=workload.max_replicas,
            concurrency=workload.concurrent_requests,
            cooldown_s=workload.cooldown_s,
        )
        epoch = self._memory.of(workload.key).epoch
        for replica in mine:
            replica.follow(workload)
        current = [replica for replica in mine if replica.record.epoch == epoch]
        if any(replica.ready for replica in mine) and self._memory.update(
            workload.key, proven=True
        ):
            self._log.write(
                workload.app_id,
                "RevisionReady",
                f"Successfully provisioned revision '{workload.revision}'",
                revision=workload.revision,
            )
        current += [self._create(workload, epoch) for _ in range(len(current), wanted)]
        # Replicas that do not serve are stopped first, then the oldest.
        for replica in sorted(current, key=lambda replica: (replica.ready, replica.record.created))[
            : len(current) - wanted
        ]:
            self._retire(replica)
        # An old replica goes for each new one that is ready. Waiting for all new ones would stop a
        # restart for ever if the quota has no room for both.
        former = sorted(
            (replica for replica in mine if replica.record.epoch != epoch),
            key=lambda replica: replica.ready,
        )
        for replica in former[
            : max(0, len(former) + sum(replica.ready for replica in current) - wanted)
        ]:
            self._retire(replica)
        if wanted == 0 and current:
            message = (
                f"Deactivated apps/v1.Deployment k8se-apps/{workload.revision} from {len(current)}"
                " to 0"
            )
            self._log.write(
                workload.app_id, "KEDAScaleTargetDeactivated", message, revision=workload.revision
            )

    def _demand(self, workload: Workload, adopted: int, now: float) -> Demand:
        """The revision's recent need; a new revision needs one replica to prove itself, an adopted
        one the replicas that it has.
        """
        demand = self._demands.get(workload.key)
        if demand is None:
            demand = self._demands[workload.key] = Demand()
            known = self._memory.of(workload.key)
            # Also with minReplicas 0: Azure starts one replica of a new revision to see whether it
            # runs.
            if adopted or not (known.booted and known.proven):
                demand.need(now, max(adopted, 1))
            self._memory.update(workload.key, booted=True)
        return demand

    def _create(self, workload: Workload, epoch: int) -> Replica:
        record = new_record(workload, epoch, self._speed)
        directory = self._state_dir / "replicas" / record.name
        replica = Replica(
            directory, record, self._log, self._wake_up, speed=self._speed, workload=workload
        )
        self._replicas.append(replica)
        replica.announce()
        return replica

    # -- leaving
    def _retire(self, replica: Replica) -> None:
        served = replica.ready
        replica.terminating = True
        task = asyncio.create_task(self._end(replica, served=served))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _end(self, replica: Replica, *, served: bool) -> None:
        """End a replica: out of the ingress first, then SIGTERM, the grace period, SIGKILL."""
        self._push()
        # Requests that were routed to it a moment ago must still arrive, as on Container Apps.
        if served:
            await self._edge.settled(timeout_s=2)
            await asyncio.sleep(_SETTLE_S)
        caught = await replica.stop()
        await replica.wait_ended(None if caught else self._edge.drained(replica.record.name))

    # -- helpers
    def _living(self) -> list[Replica]:
        return [
            replica for replica in self._replicas if not replica.ended and not replica.terminating
        ]

    def _claimants(self) -> list[Replica]:
        """The replicas that hold quota or wait for it. A replica that was told to stop holds its
        quota until it has ended.
        """
        return [
            replica
            for replica in self._replicas
            if not replica.ended and (replica.placed or not replica.terminating)
        ]

    def _push(self) -> None:
        if self._workloads is not None:
            self._edge.push(
                self._routes.table(self._workloads.values(), self._living(), time.monotonic())
            )

    def _tell_failed_ports(self, workloads: Iterable[Workload]) -> None:
        failed = self._edge.failed_ports
        for workload in workloads:
            port = str(workload.ingress_port)
            if port in failed and self._told_ports.get(port) != failed[port]:
                message = f"The ingress cannot listen on port {port}: {failed[port]}"
                self._log.write(workload.app_id, "IngressPortUnavailable", message, warning=True)
        self._told_ports = dict(failed)

    def _wake_up(self) -> None:
        self._wake.set()

    async def _adopt(self) -> None:
        for directory in sorted((self._state_dir / "replicas").glob("*")):
            try:
                replica = await Replica.adopt(
                    directory, self._log, self._wake_up, speed=self._speed
                )
            # A damaged record costs its own replica: the scheduler makes another one.
            except (ShimGoneError, OSError, ValueError, TypeError, KeyError):
                with suppress(OSError, ValueError, TypeError, KeyError):
                    processes.kill_all(read_record(directory).label)
                shutil.rmtree(directory, ignore_errors=True)
                continue
            self._replicas.append(replica)
            if replica.terminating:
                self._retire(replica)


def _observed(replica: Replica, now: datetime) -> Observed:
    seen = replica.observe(now)
    return replace(seen, status=replace(seen.status, ending=replica.terminating))
