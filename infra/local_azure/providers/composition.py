"""From stored apps to running replicas: builds every `Workload`, hands the whole set to the scheduler, reads its status back.

Level-triggered: `changed` may be called as often as one likes. It also moves a Single-mode app on when its newest revision is
ready.
"""

import asyncio
import contextlib
import logging
import random
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.local_azure import clock
from infra.local_azure.options import Options
from infra.local_azure.runtime.scheduler import Scheduler
from infra.local_azure.runtime.workload import RevisionStatus, Workload
from infra.local_azure.store import Record, Store

from . import app_view, mounts
from .app_view import KIND, REVISION_KIND
from .job_shape import KIND as JOB_KIND
from .mounts import MountError, Mounts

Body = dict[str, Any]
STOPPED = RevisionStatus("None", "Stopped", None, ())
log = logging.getLogger(__name__)


class Composition:
    """The one owner of the scheduler. `blocked` maps a revision to the reason why no replica of it can start."""

    def __init__(self, options: Options, store: Store, scheduler: Scheduler) -> None:
        self._options = options
        self._store = store
        self.on_change: Callable[[], None] = lambda: None  # jobs mount the same storages
        self._scheduler = scheduler
        self._mounts = Mounts(options, store)
        self._blocked: dict[str, str] = {}
        self._pending = False
        self._settled = False
        self._composed = 0.0
        self._task: asyncio.Task[None] | None = None

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
        """Something stored changed: compose anew, once, when the running request is done."""
        if not self._pending:
            self._pending = True
            asyncio.get_running_loop().call_soon(self._compose)
        self.on_change()

    def status(self, app: Record, revision: Record) -> RevisionStatus:
        """What the runtime says of a revision; one that cannot even be started says why."""
        if not revision.body["active"] or app.private["stopped"]:
            return STOPPED
        if revision.name in self._blocked:
            return RevisionStatus("Unhealthy", "Failed", self._blocked[revision.name], ())
        return self._scheduler.status(revision.name)

    async def restart(self, app: Record, revision: Record) -> None:
        """New replicas, with the app's secrets as they are now."""
        revision.private["secrets"] = {str(entry["name"]): str(entry.get("value") or "") for entry in app.private["secrets"]}
        self._store.put(revision)
        self._compose()
        await self._scheduler.restart(revision.name)

    def system_log(self, app: str) -> Path:
        return self._scheduler.system_log(app)

    def weights(self, app: Record, *, routed: bool = False) -> dict[str, int]:
        """Revision -> share of traffic. `routed` says where requests go: to the last ready revision until the newest is ready."""
        properties = app.body["properties"]
        ingress = properties["configuration"]["ingress"]
        newest = properties.get("latestRevisionName")
        ready = properties.get("latestReadyRevisionName") or newest
        latest = ready if routed else newest
        if not ingress or not latest:
            return {}
        if properties["configuration"]["activeRevisionsMode"] == "Single":
            return {latest: 100}
        shares: Counter[str] = Counter()
        for entry in ingress["traffic"]:
            shares[latest if entry.get("latestRevision") else entry["revisionName"]] += entry["weight"]
        return dict(shares)

    def gpus(self, environment: str) -> dict[str, int]:
        """Replicas now running on each workload profile type of an environment."""
        record = self._store.get(environment)
        types = (
            {entry["name"]: entry["workloadProfileType"].lower() for entry in record.body["properties"]["workloadProfiles"] or []}
            if record
            else {}
        )
        used: Counter[str] = Counter()
        for app, revision in self._active():
            if app.private["environment"] == environment:
                used[types.get(revision.body["workloadProfileName"] or "", "")] += len(self.status(app, revision).replicas)
        return dict(used)

    def storages_in_use(self, environment: str) -> set[str]:
        """The storages that the template of an app or a job or an active revision mounts."""
        apps = [
            app for app in [*self._store.each(KIND), *self._store.each(JOB_KIND)] if app.private["environment"] == environment
        ]
        templates = [app.body["properties"]["template"] for app in apps]
        templates += [revision.body["template"] for app, revision in self._active() if app.private["environment"] == environment]
        return {
            str(volume["storageName"])
            for template in templates
            for volume in template["volumes"] or []
            if volume.get("storageName")
        }

    def free_port(self) -> int:
        """A loopback port that no app has and nobody listens on, outside the range of outgoing connections."""
        taken = {app.private.get("port") for app in self._store.each(KIND)}
        for _ in range(200):
            port = random.randint(20000, 31999)
            with socket.socket() as probe:
                if port not in taken and probe.connect_ex(("127.0.0.1", port)) != 0:
                    return port
        raise RuntimeError("no free loopback port between 20000 and 31999")

    def _active(self) -> list[tuple[Record, Record]]:
        """Every revision that should have replicas, with its app."""
        pairs = []
        for app in self._store.each(KIND):
            if app.private["stopped"] or app.body["properties"]["provisioningState"] == "Deleting" or self._group_goes(app):
                continue
            pairs += [(app, revision) for revision in self._store.each(REVISION_KIND, app.id) if revision.body["active"]]
        return pairs

    def _group_goes(self, app: Record) -> bool:
        group = self._store.get("/".join(app.id.split("/")[:5]))
        return group is None or group.body["properties"]["provisioningState"] == "Deleting"

    def _compose(self) -> None:
        self._pending = self._settled = False
        self._composed = clock.now()
        workloads, blocked = [], {}
        for app, revision in self._active():
            try:
                workloads.append(self._workload(app, revision))
            except MountError as refused:
                blocked[revision.name] = (
                    f"Container '{revision.body['template']['containers'][0]['name']}' cannot start: {refused}"
                )
        self._blocked = blocked
        self._scheduler.set_workloads(workloads)

    def _workload(self, app: Record, revision: Record) -> Workload:
        template, ingress = revision.body["template"], app.body["properties"]["configuration"]["ingress"]
        container, scale = template["containers"][0], template["scale"]
        environment = self._store.get(app.private["environment"])
        return Workload(
            app=app.name,
            app_id=app_view.app_id(app),
            revision=revision.name,
            image=container["image"],
            command=tuple(container.get("command", ())),
            args=tuple(container.get("args", ())),
            env=mounts.environment(container, revision.private["secrets"]),
            mounts=self._mounts.of(
                app.private["environment"],
                template,
                container,
                self._options.runtime / "empty" / revision.name,
                mounted=bool(self._scheduler.status(revision.name).replicas),
            ),
            probes=tuple(container.get("probes", ())),
            target_port=ingress["targetPort"] if ingress else None,
            ingress_port=app.private["port"] if ingress else None,
            fqdn=app_view.fqdn(app) if ingress else "",
            dns_suffix=environment.private["domain"] if environment else "",
            min_replicas=int(scale["minReplicas"] or 0),
            max_replicas=int(scale["maxReplicas"]),
            concurrent_requests=_concurrency(scale["rules"]),
            cooldown_s=float(scale["cooldownPeriod"]),
            polling_s=float(scale["pollingInterval"]),
            termination_grace_s=float(template["terminationGracePeriodSeconds"] or 30),
            weight=self.weights(app, routed=True).get(revision.name, 0),
        )

    async def _watch(self) -> None:
        """Look at the apps as long as one of them is on its way; a hundred settled ones cost nothing."""
        while True:
            # What is not ready soon after a change may stay so for long: a broken image, a big model.
            await asyncio.sleep(0.2 if clock.now() - self._composed < 60 else 1.0)
            try:
                if not self._settled:
                    self._advance()
            except Exception:
                log.exception("composition failed")

    def _advance(self) -> None:
        """Remember what became ready; in Single mode the older revisions then go."""
        moved, waiting = False, False
        for app in self._store.each(KIND):
            properties = app.body["properties"]
            newest = properties.get("latestRevisionName")
            if not newest or properties["provisioningState"] == "Deleting":
                waiting = waiting or not newest
                continue
            revision = self._store.get(app_view.revision_id(app, newest))
            if properties.get("latestReadyRevisionName") != newest:
                if revision is None or self.status(app, revision).health_state != "Healthy":
                    waiting = True
                    continue
                properties["latestReadyRevisionName"] = newest
                self._store.put(app)
                moved = True
            moved = self._single(app, newest) or moved
        self._settled = not waiting
        if moved:
            self._compose()

    def _single(self, app: Record, newest: str) -> bool:
        if app.body["properties"]["configuration"]["activeRevisionsMode"] != "Single":
            return False
        old = [r for r in self._store.each(REVISION_KIND, app.id) if r.body["active"] and r.name != newest]
        for revision in old:
            revision.body["active"] = False
            self._store.put(revision)
        return bool(old)


def _concurrency(rules: list[Body] | None) -> int:
    """The first http rule's concurrentRequests; Azure's default rule has ten."""
    for rule in rules or []:
        if rule.get("http"):
            return int((rule["http"].get("metadata") or {}).get("concurrentRequests", 10))
    return 10
