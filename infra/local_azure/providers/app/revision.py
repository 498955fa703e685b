"""Revisions and replicas: what runs, as the runtime reports it, and switching revisions
on and off.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from infra.local_azure import clock
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.changes import Changes
from infra.local_azure.control.apps import AppControl
from infra.local_azure.control.naming import REVISION, revision_id
from infra.local_azure.control.records import Body, Records
from infra.local_azure.control.workloads import weights
from infra.local_azure.providers.provider import Provider
from infra.local_azure.runtime.workload import ReplicaStatus
from infra.local_azure.store import Record, Store

from . import app_view
from .app_view import TYPE


@dataclass(frozen=True)
class Revisions(Provider):
    """The revisions of an app and the replicas of a revision."""

    store: Store
    records: Records
    apps: AppControl
    changes: Changes

    def routes(self) -> Routes:
        return {
            f"get {_BASE}": self.listing,
            f"get {_BASE}/{{}}": self.get,
            f"post {_BASE}/{{}}/activate": self.activate,
            f"post {_BASE}/{{}}/deactivate": self.deactivate,
            f"post {_BASE}/{{}}/restart": self.restart,
            f"get {_BASE}/{{}}/replicas": self.replicas,
            f"get {_BASE}/{{}}/replicas/{{}}": self.replica,
        }

    def listing(self, call: Call) -> Reply:
        """Oldest first; inactive ones too, unless the filter asks for active ones."""
        app = self.records.acted_on(call, TYPE)
        records = self.store.each(REVISION, app.id)
        if "active eq true" in call.query.get("$filter", "").lower():
            records = [record for record in records if record.body["active"]]
        return listed([self._view(call, app, record) for record in records])

    def get(self, call: Call) -> Reply:
        return Reply(200, self._view(call, *self._revision(call)))

    def activate(self, call: Call) -> Reply:
        return self._switch(call, active=True)

    def deactivate(self, call: Call) -> Reply:
        return self._switch(call, active=False)

    async def restart(self, call: Call) -> Reply:
        await self.apps.restart(*self._revision(call))
        return Reply(200, "Restart succeeded")

    def replicas(self, call: Call) -> Reply:
        app, revision = self._revision(call)
        status = self.apps.status(app, revision)
        return Reply(
            200, {"value": [_replica(call, revision, replica) for replica in status.replicas]}
        )

    def replica(self, call: Call) -> Reply:
        app, revision = self._revision(call)
        wanted = call.target.names[2].lower()
        for status in self.apps.status(app, revision).replicas:
            if status.name.lower() == wanted:
                return Reply(200, _replica(call, revision, status))
        raise ArmError(
            404,
            "ReplicaNotFound",
            f"The replica '{call.target.names[2]}' of revision '{revision.name}' was not found.",
        )

    def _switch(self, call: Call, *, active: bool) -> Reply:
        app, record = self._revision(call)
        record.body |= (
            {"active": active} if active else {"active": active, "lastActive": clock.now()}
        )
        self.store.put(record)
        # With this one there may be more inactive revisions than the app keeps.
        self.apps.prune(app)
        self.changes.notify()
        return Reply(200, "Activate succeeded" if active else "Deactivate succeeded")

    def _view(self, call: Call, app: Record, record: Record) -> Body:
        return app_view.revision_view(
            call,
            app,
            self.store.get(app.private["environment"]),
            record,
            weight=weights(app).get(record.name, 0),
            status=self.apps.status(app, record),
        )

    def _revision(self, call: Call) -> tuple[Record, Record]:
        """The container app, and its revision that the call names."""
        app, name = self.records.acted_on(call, TYPE), call.target.names[1]
        record = self.store.get(revision_id(app, name))
        if record is None:
            raise ArmError(
                404,
                "RevisionNotFound",
                f"The revision '{name}' of container app '{app.name}' was not found.",
            )
        return app, record


@dataclass(frozen=True)
class ContainerState:
    """A container of a replica; `state` is Azure's runningState."""

    name: str
    ready: bool
    started: bool
    restarts: int
    state: str
    details: str


def _replica(call: Call, revision: Record, status: ReplicaStatus) -> Body:
    """One replica with its containers."""
    place = f"replicas/{status.name}"
    stream = f"{call.base}{revision.id.replace('/providers/Microsoft.App', '')}/{place}"
    template = revision.body["template"]
    # The API of replicas knows only these two states, and the containers say more. Those of a
    # replica that is ending keep their last state (recorded).
    runs = status.running_state == "Running" and not status.ending
    return {
        "id": f"{revision.id}/{place}",
        "name": status.name,
        "type": "Microsoft.App/containerapps/revisions/replicas",
        "properties": {
            "createdTime": status.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "runningState": "Running" if runs else "NotRunning",
            "runningStateDetails": "",
            "containers": [
                _container(call.version, stream, each) for each in _states(template, status)
            ],
            "initContainers": [
                _container(call.version, stream, each) for each in _init_states(template, status)
            ],
        },
    }


def _states(template: Body, status: ReplicaStatus) -> Iterator[ContainerState]:
    """The first container as the probes know it, the others as they run."""
    beside = {sidecar.name: sidecar for sidecar in status.beside}
    for container in template["containers"]:
        name = container["name"]
        if sidecar := beside.get(name):
            runs, restarts = sidecar.running_state == "Running", sidecar.restart_count
            state, details = sidecar.running_state, sidecar.details
            yield ContainerState(name, runs, runs, restarts, state, details)
        else:
            yield ContainerState(
                name,
                status.ready,
                status.started,
                status.restart_count,
                status.running_state,
                status.details,
            )


def _init_states(template: Body, status: ReplicaStatus) -> Iterator[ContainerState]:
    done = status.running_state == "Running"
    for container in template["initContainers"] or []:
        state = "Terminated" if done else "Waiting"
        yield ContainerState(container["name"], done, False, 0, state, "")


def _container(version: str, stream: str, shown: ContainerState) -> Body:
    where = f"{stream}/containers/{shown.name}"
    digest = hashlib.sha256(f"{where}/{shown.restarts}".encode()).hexdigest()
    return {
        "name": shown.name,
        "containerId": f"containerd://{digest[:32]}",
        "ready": shown.ready,
        "started": shown.started,
        "restartCount": shown.restarts,
        "runningState": shown.state,
        "runningStateDetails": shown.details,
        "logStreamEndpoint": f"{where}/logstream",
        "execEndpoint": f"{where.replace('https://', 'wss://')}/exec",
        **(
            {"debugEndpoint": f"{stream.replace('https://', 'wss://')}/debug"}
            if _debugs(version)
            else {}
        ),
    }


def _debugs(version: str) -> bool:
    return version.endswith("preview") and version >= "2024-08"


_BASE = "microsoft.app/containerapps/{}/revisions"
