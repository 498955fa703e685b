"""Keeps the wanted revisions running: replicas, probes, scale and routes. Driven by the ARM server.

Level-triggered: every pass compares the whole wanted set with the replicas that live, whoever started them.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from . import processes, routes
from .edge import Edge
from .memory import Memory
from .record import new_record, read_record
from .replica import Replica
from .scale import Demand, desired
from .shim_client import ShimGoneError
from .status import revision_status
from .system_log import SystemLog
from .workload import ReplicaStatus, RevisionStatus, Workload

__all__ = ["ReplicaStatus", "RevisionStatus", "Scheduler", "Workload"]

_PASS_S = 0.5
_SETTLE_S = 0.3  # between leaving the ingress and SIGTERM: requests already handed over reach the process
_logger = logging.getLogger(__name__)


class Scheduler:
    """Runs workloads under `state_dir` (the local Azure's own folder: replicas/, system/, ingress.sock are made in it).

    `images` is the file that maps images to environments; `tls` is certificate and key of the ingress, which cuts every request
    after `request_timeout_s` (Azure: 240), also one that waits for a replica.
    """

    def __init__(self, state_dir: Path, images: Path, tls: tuple[Path, Path], *, request_timeout_s: float = 240.0) -> None:
        self._state_dir = state_dir.absolute()
        self._images = images
        self._log = SystemLog(self._state_dir / "system")
        self._memory = Memory(self._state_dir / "revisions.json")
        self._edge = Edge(self._state_dir, tls, self._wake_up)
        self._routes = routes.Routes(request_timeout_s)
        self._workloads: dict[str, Workload] | None = None
        self._replicas: list[Replica] = []
        self._demands: dict[str, Demand] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._told_ports: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Adopts living shims and the ingress, removes what is left of dead ones, starts the loop.

        Nothing is stopped or routed anew before the first `set_workloads`.
        """
        self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._adopt()
        self._edge.start()
        self._loop_task = asyncio.create_task(self._loop())

    async def stop(self, *, terminate: bool) -> None:
        """Stops scheduling. With `terminate` every replica and the ingress end too; without, the next scheduler adopts them."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop_task
        if terminate:
            self._workloads = {}
            self._pass()
            await asyncio.gather(*self._retiring)
        for task in self._retiring:
            task.cancel()
        for replica in self._replicas:
            replica.release()
        await self._edge.stop(terminate=terminate)

    def set_workloads(self, workloads: Sequence[Workload]) -> None:
        """Makes `workloads` the whole wanted set."""
        self._workloads = {workload.revision: workload for workload in workloads}
        self._memory.keep_active(self._workloads)
        self._wake_up()

    def status(self, revision: str) -> RevisionStatus:
        """The revision's health now; of an unknown or inactive revision too."""
        now = datetime.now(UTC)
        workload = (self._workloads or {}).get(revision)
        observed = [replica.observe(now) for replica in self._replicas if replica.record.revision == revision]
        known = self._memory.of(revision)
        return revision_status(
            workload.app if workload else "",
            observed,
            active=workload is not None,
            proven=known.proven,
            booted=known.booted,
            minimum=workload.min_replicas if workload else 0,
            maximum=workload.max_replicas if workload else 0,
        )

    async def restart(self, revision: str) -> None:
        """Replaces every replica of the revision: new ones first, the old ones go when those are ready."""
        self._memory.update(revision, epoch=self._memory.of(revision).epoch + 1)
        self._wake_up()

    def system_log(self, app: str) -> Path:
        """JSON lines of the app's system events; the file may not exist yet."""
        return self._log.path(app)

    # -- the loop ------------------------------------------------------------------------------------------------------

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
        if self._workloads is None:
            return
        self._replicas = [replica for replica in self._replicas if not replica.ended]
        self._demands = {revision: demand for revision, demand in self._demands.items() if revision in self._workloads}
        now = time.monotonic()
        for workload in self._workloads.values():
            self._scale(workload, now)
        for replica in self._living():
            if replica.record.revision not in self._workloads:
                self._retire(replica)
        self._push()
        self._tell_failed_ports(self._workloads.values())

    def _scale(self, workload: Workload, now: float) -> None:
        demand = self._demand(workload, now)
        demand.observe(now, self._edge.load.get(workload.revision, {}).get("in_flight", 0))
        wanted = desired(
            demand,
            now,
            minimum=workload.min_replicas,
            maximum=workload.max_replicas,
            concurrency=workload.concurrent_requests,
            cooldown_s=workload.cooldown_s,
        )
        epoch = self._memory.of(workload.revision).epoch
        mine = [replica for replica in self._living() if replica.record.revision == workload.revision]
        current = [replica for replica in mine if replica.record.epoch == epoch]
        if any(replica.ready for replica in mine) and self._memory.update(workload.revision, proven=True):
            self._log.write(
                workload.app,
                "RevisionReady",
                f"Successfully provisioned revision '{workload.revision}'",
                revision=workload.revision,
            )
        current += [self._create(workload, epoch) for _ in range(len(current), wanted)]
        for replica in sorted(current, key=lambda replica: (replica.ready, replica.record.created))[: len(current) - wanted]:
            self._retire(replica)
        if sum(replica.ready for replica in current) >= wanted:
            for replica in mine:
                if replica.record.epoch != epoch:
                    self._retire(replica)
        if wanted == 0 and current:
            message = f"Deactivated apps/v1.Deployment k8se-apps/{workload.revision} from {len(current)} to 0"
            self._log.write(workload.app, "KEDAScaleTargetDeactivated", message, revision=workload.revision)

    def _demand(self, workload: Workload, now: float) -> Demand:
        """The revision's recent need; a new revision needs one replica to prove itself, an adopted one what it has."""
        demand = self._demands.get(workload.revision)
        if demand is None:
            demand = self._demands[workload.revision] = Demand()
            adopted = sum(replica.record.revision == workload.revision for replica in self._living())
            known = self._memory.of(workload.revision)
            if adopted or not (known.booted and known.proven):
                demand.need(now, max(adopted, 1))
            self._memory.update(workload.revision, booted=True)
        return demand

    def _create(self, workload: Workload, epoch: int) -> Replica:
        record = new_record(workload, epoch)
        replica = Replica(self._state_dir / "replicas" / record.name, record, self._log, self._wake_up)
        self._replicas.append(replica)
        replica.start(workload, self._images, self._state_dir)
        return replica

    # -- leaving -------------------------------------------------------------------------------------------------------

    def _retire(self, replica: Replica) -> None:
        served = replica.ready
        replica.terminating = True
        task = asyncio.create_task(self._end(replica, served=served))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _end(self, replica: Replica, *, served: bool) -> None:
        """Out of the ingress first; then SIGTERM, grace, SIGKILL."""
        self._push()
        if served:
            await self._edge.settled(timeout_s=2)
            await asyncio.sleep(_SETTLE_S)
        caught = await replica.stop()
        await replica.wait_ended(None if caught else self._edge.drained(replica.record.name))

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _living(self) -> list[Replica]:
        return [replica for replica in self._replicas if not replica.ended and not replica.terminating]

    def _push(self) -> None:
        if self._workloads is not None:
            self._edge.push(self._routes.table(self._workloads.values(), self._living(), time.monotonic()))

    def _tell_failed_ports(self, workloads: Iterable[Workload]) -> None:
        failed = self._edge.failed_ports
        for workload in workloads:
            port = str(workload.ingress_port)
            if port in failed and self._told_ports.get(port) != failed[port]:
                message = f"The ingress cannot listen on port {port}: {failed[port]}"
                self._log.write(workload.app, "IngressPortUnavailable", message, warning=True)
        self._told_ports = dict(failed)

    def _wake_up(self) -> None:
        self._wake.set()

    async def _adopt(self) -> None:
        for directory in sorted((self._state_dir / "replicas").glob("*")):
            try:
                replica = await Replica.adopt(directory, self._log, self._wake_up)
            except (ShimGoneError, OSError, ValueError, TypeError, KeyError):
                with suppress(OSError, ValueError, TypeError, KeyError):
                    processes.kill_all(read_record(directory).label)
                shutil.rmtree(directory, ignore_errors=True)
                continue
            self._replicas.append(replica)
            if replica.terminating:
                self._retire(replica)
