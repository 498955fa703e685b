"""Faults that no request triggers: failing replicas, no GPU quota, shares that cannot be mounted. A
task brings the runtime to what the script says.

Level-triggered: it holds after a restart and when the script is cleared.
"""

import asyncio
import json
import logging
from fnmatch import fnmatchcase

from infra.local_azure.changes import Changes
from infra.local_azure.control import naming
from infra.local_azure.control.apps import AppControl
from infra.local_azure.store import Store

from .fault import Event, Fault
from .fault_store import FaultStore

_LOOK_S = 0.2
_MOUNTS = {"ShareUnreachable": "unreachable", "StaleMountKey": "stale-keys"}
_AILMENTS = {"ReplicaCrashes": "crash", "ReplicaHangs": "hang", "ReplicaNeverReady": "unready"}
log = logging.getLogger(__name__)


class StandingFaults:
    """One per server."""

    def __init__(
        self, faults: FaultStore, store: Store, apps: AppControl, changes: Changes
    ) -> None:
        self._faults = faults
        self._store = store
        self._apps = apps
        self._changes = changes
        self._ailments: dict[str, str] = {}
        self._killed: set[tuple[str, int | None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        if self._task:
            self._task.cancel()

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Bring the runtime to what the script says now. Never raises."""
        try:
            self._tell()
        except Exception:
            log.exception("looking after sick replicas failed")

    def _tell(self) -> None:
        faults = self._faults
        ailments = self._found(faults.standing(_AILMENTS))
        if ailments != self._ailments:
            self._ailments = ailments
            self._apps.set_ailments(ailments)
        self._keep("quota:none", "1" if faults.standing({"NoGpuQuota"}) else None)
        for kind, name in _MOUNTS.items():
            shares = [
                fault.name or "*"
                for fault in faults.standing({kind})
                if fault.plane in {"", "mount"}
            ]
            self._keep(name, json.dumps(shares) if shares else None)
        rates = {
            fault.name or "*": fault["bytesPerSecond"] for fault in faults.standing({"ShareSlow"})
        }
        self._keep("slow-streams", json.dumps(rates) if rates else None)
        if faults.standing({"ReplicaKilled"}):
            self._kill()
        else:
            self._killed.clear()

    def _found(self, faults: list[Fault]) -> dict[str, str]:
        """App id -> ailment; the first fault that names an app decides."""
        ailments: dict[str, str] = {}
        for app in self._store.each(naming.APP) if faults else []:
            fault = next(
                (each for each in faults if fnmatchcase(app.name, each.name.lower() or "*")), None
            )
            if fault is not None:
                ailments[naming.app_id(app)] = _AILMENTS[fault.kind]
        return ailments

    def _kill(self) -> None:
        """Each run of a container is one event: it is killed at most once."""
        for app in self._store.each(naming.APP):
            for revision in self._store.each(naming.REVISION, app.id):
                for replica in self._apps.status(app, revision).replicas:
                    run = (replica.name, replica.pid)
                    if replica.pid is None or run in self._killed:
                        continue
                    self._killed.add(run)
                    event = Event("runtime", names=(app.name, revision.name, replica.name))
                    if self._faults.pick(event, {"ReplicaKilled"}) is not None:
                        self._apps.kill(replica.name)

    def _keep(self, name: str, value: str | None) -> None:
        if self._store.read(name) != value:
            self._store.keep(name, value)
            self._changes.notify()
