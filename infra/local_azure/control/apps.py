"""From stored apps to running replicas: hands every workload to the scheduler and reads its status
back. In Single mode it also deactivates older revisions when the newest is ready.

Level-triggered: `changed` may be called at any time and as often as needed.
"""

import asyncio
import contextlib
import logging
import random
import socket
import time
from pathlib import Path
from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm import ids
from infra.local_azure.runtime.scheduler import Scheduler
from infra.local_azure.runtime.workload import RevisionStatus, revision_key
from infra.local_azure.store import Record, Store

from . import naming, quotas
from .vaults import Vaults
from .workloads import Workloads

Body = dict[str, Any]
log = logging.getLogger(__name__)


class AppControl:
    """The one owner of the scheduler."""

    def __init__(self, store: Store, scheduler: Scheduler, workloads: Workloads) -> None:
        self._store = store
        self._scheduler = scheduler
        self._workloads = workloads
        self._pending = False
        self._settled = False
        self._composed = 0.0
        self._composing_s = 0.0  # how long it took last
        self._ports: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    def reach(self, port: int) -> None:
        """Let replicas reach this Azure itself, which listens on `port`. They need its login, for
        example.
        """
        self._scheduler.reach(port)

    async def start(self) -> None:
        await self._scheduler.start()
        self._compose()
        self._task = asyncio.create_task(self._watch())

    async def stop(self, *, terminate: bool) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._scheduler.stop(terminate=terminate)

    def changed(self) -> None:
        """Something stored changed: compare it with the runtime once, when the running request is
        done.
        """
        if not self._pending:
            self._pending = True
            # Not at once, because the request that changed it may be in the middle of several
            # writes. A thousand apps also take a while, and requests must get most of that time.
            asyncio.get_running_loop().call_later(4 * self._composing_s, self._compose)

    def status(self, app: Record, revision: Record) -> RevisionStatus:
        """What the runtime says of a revision."""
        return self._scheduler.status(_key(app, revision))

    async def restart(self, app: Record, revision: Record) -> None:
        """New replicas, with the app's secrets as they are now."""
        revision.private["secrets"] = Vaults(self._store).values(app)
        self._store.put(revision)
        self._compose()
        await self._scheduler.restart(_key(app, revision))

    def kill(self, replica: str) -> bool:
        """Kills one replica's container. False when there is no such replica."""
        return self._scheduler.kill(replica)

    def set_ailments(self, ailments: dict[str, str]) -> None:
        """Sets which apps have failing replicas: app id -> "crash", "hang" or "unready"."""
        self._scheduler.set_ailments(ailments)

    def system_log(self, app: Record) -> Path:
        return self._scheduler.system_log(naming.app_id(app))

    def gpu_usages(self, scope: str, *, regional: bool) -> list[Body]:
        """GPUs taken and allowed in an environment (its key) or a region (its normal form)."""
        return quotas.usages(self._store, self._scheduler.used(), scope, regional=regional)

    def prune(self, app: Record) -> None:
        """Delete the oldest inactive revisions beyond the limit; the latest revision stays."""
        properties = app.body["properties"]
        keep = properties["configuration"]["maxInactiveRevisions"]
        idle = [
            record
            for record in self._store.each(naming.REVISION, app.id)
            if not record.body["active"] and record.name != properties.get("latestRevisionName")
        ]
        for record in idle[: max(0, len(idle) - (100 if keep is None else int(keep)))]:
            self._store.delete(record.key)

    def storages_in_use(self, environment: str) -> set[str]:
        """The storages that the template of an app or a job or an active revision mounts."""
        apps = [
            app
            for app in [*self._store.each(naming.APP), *self._store.each(naming.JOB)]
            if app.private["environment"] == environment
        ]
        templates = [app.body["properties"]["template"] for app in apps]
        templates += [
            revision.body["template"]
            for app, revision in self._active()
            if app.private["environment"] == environment
        ]
        return {
            str(volume["storageName"])
            for template in templates
            for volume in template["volumes"] or []
            if volume.get("storageName")
        }

    def free_port(self) -> int:
        """A loopback port that no app has and no process listens on, outside the range of outgoing
        connections.
        """
        self._ports = self._ports or {
            app.private["port"] for app in self._store.each(naming.APP) if app.private.get("port")
        }
        for _ in range(200):
            port = random.randint(20000, 31999)
            with socket.socket() as probe:
                if port not in self._ports and probe.connect_ex(("127.0.0.1", port)) != 0:
                    self._ports.add(port)
                    return port
        raise RuntimeError("no free loopback port between 20000 and 31999")

    def _active(self) -> list[tuple[Record, Record]]:
        """Every revision that should have replicas, with its app."""
        pairs = []
        for app in self._store.each(naming.APP):
            if (
                app.private["stopped"]
                or app.body["properties"]["provisioningState"] == "Deleting"
                or self._group_goes(app)
            ):
                continue
            pairs += [
                (app, revision)
                for revision in self._store.each(naming.REVISION, app.id)
                if revision.body["active"]
            ]
        return pairs

    def _group_goes(self, app: Record) -> bool:
        group = self._store.get(ids.group_id(app.id))
        return group is None or group.body["properties"]["provisioningState"] == "Deleting"

    def _compose(self) -> None:
        self._pending = self._settled = False
        self._composed, began = clock.now(), time.perf_counter()
        workloads = []
        for app, revision in self._active():
            try:
                workloads.append(self._workloads.of(app, revision))
            except Exception:  # a document that cannot run must not stop every other app
                log.exception("revision %s cannot run", revision.id)
        self._scheduler.set_workloads(workloads, quotas.limits(self._store))
        self._composing_s = time.perf_counter() - began

    async def _watch(self) -> None:
        """Check the apps again and again while one of them is not in its final state."""
        while True:
            # An app that is not ready soon after a change may stay unready for long: a broken
            # image, a big model.
            await asyncio.sleep(0.2 if clock.now() - self._composed < 60 else 1.0)
            try:
                if not self._settled:
                    self._advance()
            except Exception:
                log.exception("following the apps failed")

    def _advance(self) -> None:
        """Note which revisions became ready; in Single mode, then deactivate the older ones."""
        moved, waiting = False, False
        for app in self._store.each(naming.APP):
            properties = app.body["properties"]
            newest = properties.get("latestRevisionName")
            if not newest or properties["provisioningState"] == "Deleting":
                waiting = waiting or not newest
                continue
            revision = self._store.get(naming.revision_id(app, newest))
            if properties.get("latestReadyRevisionName") != newest:
                if revision is None or self.status(app, revision).health_state != "Healthy":
                    waiting = True
                    continue
                properties["latestReadyRevisionName"] = newest
                self._store.put(app)
                moved = True
            # While a write runs the revision before it is still the newest, and must stay active.
            if app.private.get("settling", True):
                moved = self._single(app, newest) or moved
        self._settled = not waiting
        if moved:
            self._compose()

    def _single(self, app: Record, newest: str) -> bool:
        """The end of a write in Single mode. A revision that is activated by hand later stays
        active, as on Azure.
        """
        single = app.body["properties"]["configuration"]["activeRevisionsMode"] == "Single"
        older = [
            record
            for record in self._store.each(naming.REVISION, app.id)
            if record.body["active"] and record.name != newest
        ]
        with self._store.transaction():
            # In one transaction with the revisions: a crash in between would leave two that serve.
            app.private["settling"] = False
            self._store.put(app)
            for revision in older if single else ():
                revision.body |= {"active": False, "lastActive": clock.now()}
                self._store.put(revision)
            if single and older:
                self.prune(app)
        return single and bool(older)


def _key(app: Record, revision: Record) -> str:
    return revision_key(naming.app_id(app), revision.name)
