"""From stored apps to running replicas: builds every `Workload`, hands the whole set to the
scheduler, reads its status back.

Level-triggered: `changed` may be called as often as one likes. It also moves a Single-mode app on
when its newest revision is ready.
"""

import asyncio
import contextlib
import logging
import random
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.local_azure import clock
from infra.local_azure.options import Options
from infra.local_azure.runtime.scheduler import Scheduler
from infra.local_azure.runtime.workload import (
    Mount,
    Refusal,
    RevisionStatus,
    Routing,
    Step,
    Workload,
    revision_key,
)
from infra.local_azure.store import Record, Store

from . import app_view, mounts, quotas
from .app_view import KIND, REVISION_KIND
from .job_shape import KIND as JOB_KIND
from .mounts import MountError, Mounts

Body = dict[str, Any]
_GUESSED_PORT = 80  # Azure looks where the container listens when no port is named
log = logging.getLogger(__name__)


class Composition:
    """The one owner of the scheduler."""

    def __init__(self, options: Options, store: Store, scheduler: Scheduler) -> None:
        self._options = options
        self._store = store
        self.on_change: Callable[[], None] = lambda: None  # jobs mount the same storages
        self._scheduler = scheduler
        self._mounts = Mounts(options, store)
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
        """What the runtime says of a revision."""
        return self._scheduler.status(_key(app, revision))

    async def restart(self, app: Record, revision: Record) -> None:
        """New replicas, with the app's secrets as they are now."""
        revision.private["secrets"] = {
            str(entry["name"]): str(entry.get("value") or "") for entry in app.private["secrets"]
        }
        self._store.put(revision)
        self._compose()
        await self._scheduler.restart(_key(app, revision))

    def kill(self, replica: str) -> bool:
        """Kills one replica's container. False when there is no such replica."""
        return self._scheduler.kill(replica)

    def ail(self, ailments: dict[str, str]) -> None:
        """Lets every replica of the named apps "crash", "hang" or stay "unready": app id ->
        ailment, the whole set.
        """
        self._scheduler.set_ailments(ailments)

    def ration(self, name: str, value: int) -> None:
        """Sets a GPU quota by its usage's name; what runs keeps running. Raises KeyError."""
        quotas.set_limit(self._store, name, value)
        self._compose()

    def system_log(self, app: Record) -> Path:
        return self._scheduler.system_log(app_view.app_id(app))

    def weights(self, app: Record, *, routed: bool = False) -> dict[str, int]:
        """Revision -> share of traffic. `routed` says where requests go: to the last ready revision
        until the newest is ready.
        """
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
            shares[latest if entry.get("latestRevision") else entry["revisionName"]] += entry[
                "weight"
            ]
        return dict(shares)

    def gpu_usages(self, scope: str, *, regional: bool) -> list[Body]:
        """GPUs taken and allowed in an environment (its key) or a region (its normal form)."""
        return quotas.usages(self._store, self._scheduler.used(), scope, regional=regional)

    def prune(self, app: Record) -> None:
        """Only so many inactive revisions are kept, the oldest go first; never the newest
        of all.
        """
        properties = app.body["properties"]
        keep = properties["configuration"]["maxInactiveRevisions"]
        idle = [
            record
            for record in self._store.each(REVISION_KIND, app.id)
            if not record.body["active"] and record.name != properties.get("latestRevisionName")
        ]
        for record in idle[: max(0, len(idle) - (100 if keep is None else int(keep)))]:
            self._store.delete(record.key)

    def storages_in_use(self, environment: str) -> set[str]:
        """The storages that the template of an app or a job or an active revision mounts."""
        apps = [
            app
            for app in [*self._store.each(KIND), *self._store.each(JOB_KIND)]
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
        """A loopback port that no app has and nobody listens on, outside the range of outgoing
        connections.
        """
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
            if (
                app.private["stopped"]
                or app.body["properties"]["provisioningState"] == "Deleting"
                or self._group_goes(app)
            ):
                continue
            pairs += [
                (app, revision)
                for revision in self._store.each(REVISION_KIND, app.id)
                if revision.body["active"]
            ]
        return pairs

    def _group_goes(self, app: Record) -> bool:
        group = self._store.get("/".join(app.id.split("/")[:5]))
        return group is None or group.body["properties"]["provisioningState"] == "Deleting"

    def _compose(self) -> None:
        self._pending = self._settled = False
        self._composed = clock.now()
        workloads = [self._workload(app, revision) for app, revision in self._active()]
        self._scheduler.set_workloads(workloads, quotas.limits(self._store))

    def _workload(self, app: Record, revision: Record) -> Workload:
        """A volume that cannot be mounted now keeps new replicas from starting, and only those."""
        template, ingress = (
            revision.body["template"],
            app.body["properties"]["configuration"]["ingress"],
        )
        container, scale = template["containers"][0], template["scale"]
        environment = self._store.get(app.private["environment"])
        env: Mapping[str, str] = {}
        volumes: tuple[Mount, ...] = ()
        first: tuple[Step, ...] = ()
        beside: tuple[Step, ...] = ()
        refusal = None
        try:
            env = mounts.environment(container, revision.private["secrets"])
            volumes = self._mounts.of(
                app.private["environment"], template, container, revision.private["secrets"]
            )
            first = tuple(
                self._step(app, revision, entry) for entry in template["initContainers"] or []
            )
            beside = tuple(self._step(app, revision, entry) for entry in template["containers"][1:])
        except MountError as failed:
            refusal = Refusal(failed.reason, str(failed))
        return Workload(
            app=app.name,
            app_id=app_view.app_id(app),
            revision=revision.name,
            image=container["image"],
            command=tuple(container.get("command", ())),
            args=tuple(container.get("args", ())),
            env=env,
            mounts=volumes,
            probes=tuple(container.get("probes", ())),
            target_port=ingress["targetPort"] or _GUESSED_PORT if ingress else None,
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
            container=container["name"],
            claims=quotas.claims(environment, revision.body["workloadProfileName"])
            if environment
            else (),
            gpu=quotas.has_gpu(environment, revision.body["workloadProfileName"])
            if environment
            else False,
            refusal=refusal,
            routing=_routing(app, revision),
            first=first,
            beside=beside,
        )

    def _step(self, app: Record, revision: Record, container: Body) -> Step:
        secrets = revision.private["secrets"]
        return Step(
            name=container["name"],
            image=container["image"],
            command=tuple(container.get("command", ())),
            args=tuple(container.get("args", ())),
            env=mounts.environment(container, secrets),
            mounts=self._mounts.of(
                app.private["environment"], revision.body["template"], container, secrets
            ),
        )

    async def _watch(self) -> None:
        """Look at the apps as long as one of them is on its way; a hundred settled ones cost
        nothing.
        """
        while True:
            # What is not ready soon after a change may stay so for long: a broken image, a big
            # model.
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
            if app.private.get("settling", True):
                moved = self._single(app, newest) or moved
        self._settled = not waiting
        if moved:
            self._compose()

    def _single(self, app: Record, newest: str) -> bool:
        """The end of a write in Single mode. What somebody activates by hand afterwards stays, as
        on Azure.
        """
        single = app.body["properties"]["configuration"]["activeRevisionsMode"] == "Single"
        older = [
            record
            for record in self._store.each(REVISION_KIND, app.id)
            if record.body["active"] and record.name != newest
        ]
        with self._store.transaction():
            app.private["settling"] = False
            self._store.put(app)
            for revision in older if single else ():
                revision.body |= {"active": False, "lastActive": clock.now()}
                self._store.put(revision)
            if single and older:
                self.prune(app)
        return single and bool(older)


def _key(app: Record, revision: Record) -> str:
    return revision_key(app_view.app_id(app), revision.name)


def _routing(app: Record, revision: Record) -> Routing:
    """Labels name a revision in Multiple mode only, a client sticks to its replica in Single mode
    only.
    """
    properties = app.body["properties"]
    ingress, newest = properties["configuration"]["ingress"], properties.get("latestRevisionName")
    if not ingress:
        return Routing()
    single = properties["configuration"]["activeRevisionsMode"] == "Single"
    labels = [
        str(entry["label"]).lower()
        for entry in ingress["traffic"] or []
        if entry.get("label")
        and revision.name == (newest if entry.get("latestRevision") else entry.get("revisionName"))
    ]
    affinity = str((ingress["stickySessions"] or {}).get("affinity") or "none").lower()
    return Routing(
        labels=() if single else tuple(labels),
        sticky=single and affinity == "sticky",
        allow_insecure=bool(ingress["allowInsecure"]),
        tcp=ingress["transport"] == "Tcp",
    )


def _concurrency(rules: list[Body] | None) -> int:
    """What the first http or tcp rule allows one replica; Azure's default rule has ten."""
    for rule in rules or []:
        for kind, name in (("http", "concurrentRequests"), ("tcp", "concurrentConnections")):
            if rule.get(kind):
                return int((rule[kind].get("metadata") or {}).get(name, 10))
    return 10
