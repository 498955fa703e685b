"""Executions of jobs: starting, stopping and showing them. `control.jobs` runs them."""

import hashlib
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError, conflict
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.changes import Changes
from infra.local_azure.control.jobs import JobControl
from infra.local_azure.control.naming import EXECUTION
from infra.local_azure.control.records import Body, Records
from infra.local_azure.control.writes import Writes
from infra.local_azure.providers.provider import Provider
from infra.local_azure.runtime.execution import Attempt
from infra.local_azure.store import Record, Store

from . import job, job_shape
from .job_shape import TYPE, execution_view
from .template_types import TEMPLATE

_ALPHABET = string.ascii_lowercase + string.digits
_STATES = {True: "Succeeded", False: "Failed"}


@dataclass(frozen=True)
class JobExecutions(Provider):
    """The executions of a job and the replicas of an execution."""

    store: Store
    records: Records
    writes: Writes
    jobs: JobControl
    changes: Changes

    shapes: ClassVar[Mapping[str, Any]] = {"microsoft.app/jobs/{}/start": TEMPLATE}

    def routes(self) -> Routes:
        return {
            f"post {_BASE}/start": self.start,
            f"post {_BASE}/stop": self.stop_all,
            f"post {_BASE}/stop/{{}}": self.stop,
            f"post {_BASE}/executions/{{}}/stop": self.stop,
            f"get {_BASE}/executions": self.listing,
            f"get {_BASE}/executions/{{}}": self.get,
            f"get {_BASE}/executions/{{}}/replicas": self.replicas,
        }

    def start(self, call: Call) -> Reply:
        """One more execution, with the job's template or the one sent; answers with its name,
        without waiting for it.
        """
        record = self.records.acted_on(call, TYPE)
        self.writes.check_idle(job.WORDING, record.key, record.name)
        if record.private["suspended"]:
            raise conflict("ContainerAppsJobSuspended", f"The job '{record.name}' is suspended.")
        template = job_shape.overridden(
            record.body["properties"]["template"],
            call.body if isinstance(call.body, dict) else None,
        )
        checked = {**record.body["properties"], "template": template}
        job.template_rules(
            self.store, record.private["environment"], checked, record.private["secrets"]
        )
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(7))
        execution = self.jobs.begin(record, f"{record.name}-{suffix}", template)
        return Reply(200, {"id": execution.id, "name": execution.name})

    def stop(self, call: Call) -> Reply:
        """Stop one; stopping what has ended already changes nothing."""
        name = call.target.names[1]
        self._end(self._execution(call, name))
        return Reply(200)

    def stop_all(self, call: Call) -> Reply:
        """Stop whatever runs (or what the body names), and say what that was."""
        record = self.records.acted_on(call, TYPE)
        body = call.body if isinstance(call.body, dict) else {}
        names = {entry.get("name") for entry in body.get("value") or []}
        chosen = [
            execution
            for execution in self.store.each(EXECUTION, record.id)
            if execution.body["status"] == "Running"
        ]
        chosen = [execution for execution in chosen if not names or execution.name in names]
        for execution in chosen:
            self._end(execution)
        return Reply(200, {"value": [self._view(call, execution) for execution in chosen]})

    def listing(self, call: Call) -> Reply:
        """Newest first."""
        record = self.records.acted_on(call, TYPE)
        return listed(
            [
                self._view(call, execution)
                for execution in reversed(self.store.each(EXECUTION, record.id))
            ],
        )

    def get(self, call: Call) -> Reply:
        return Reply(200, self._view(call, self._execution(call, call.target.names[1])))

    def replicas(self, call: Call) -> Reply:
        """The replicas of one execution, with the addresses of their logs."""
        execution = self._execution(call, call.target.names[1])
        return Reply(
            200,
            {
                "value": [
                    _replica(call, execution, attempt) for attempt in self.jobs.attempts(execution)
                ]
            },
        )

    def _end(self, execution: Record) -> None:
        if execution.body["status"] == "Running":
            execution.body["status"] = "Stopped"
            self.store.put(execution)
            self.changes.notify()

    def _execution(self, call: Call, name: str) -> Record:
        record = self.records.acted_on(call, TYPE)
        execution = self.store.get(f"{record.id}/executions/{name}")
        if execution is None:
            text = f"The execution '{name}' of job '{record.name}' was not found."
            raise ArmError(404, "ContainerAppsJobExecutionNotFound", text)
        return execution

    def _view(self, call: Call, execution: Record) -> Body:
        return execution_view(
            call,
            execution,
            [_detail(execution, attempt) for attempt in self.jobs.attempts(execution)],
        )


def _detail(execution: Record, attempt: Attempt) -> Body:
    name, verdict = execution.body["template"]["containers"][0]["name"], attempt.verdict
    state = attempt.status().running_state if verdict is None else _STATES[attempt.succeeded]
    ended = (
        {}
        if verdict is None
        else {"code": verdict["code"], "additionalInformation": verdict["reason"]}
    )
    return {"name": attempt.record.name, "containers": [{"name": name, **ended, "status": state}]}


def _replica(call: Call, execution: Record, attempt: Attempt) -> Body:
    status, identifier = attempt.status(), f"{execution.id}/replicas/{attempt.record.name}"
    name = execution.body["template"]["containers"][0]["name"]
    where = f"{call.base}{identifier.replace('/providers/Microsoft.App', '')}/containers/{name}"
    container = {
        "name": name,
        "containerId": f"containerd://{hashlib.sha256(attempt.record.label.encode()).hexdigest()[:32]}",
        "ready": status.ready,
        "started": status.started,
        "restartCount": 0,
        "runningState": status.running_state,
        "runningStateDetails": status.details,
        "logStreamEndpoint": f"{where}/logstream",
        "execEndpoint": f"{where.replace('https://', 'wss://')}/exec",
    }
    made = datetime.fromisoformat(attempt.record.created).astimezone(UTC)
    properties = {
        "createdTime": f"{made:%Y-%m-%dT%H:%M:%SZ}",
        "containers": [container],
        "initContainers": [],
    }
    return {
        "id": identifier,
        "name": attempt.record.name,
        "type": "Microsoft.App/jobs/executions/replicas",
        "properties": properties,
    }


_BASE = "microsoft.app/jobs/{}"
