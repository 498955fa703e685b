"""Executions of jobs: starting and stopping them, and what is known of them. Their processes are
the business of `dispatch`.
"""

import hashlib
import secrets
import string
from datetime import UTC, datetime

from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import ArmError, conflict, not_found
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.providers import tracked
from infra.local_azure.providers.tracked import Body
from infra.local_azure.runtime.execution import Attempt
from infra.local_azure.store import Record

from . import job, job_shape
from .job_shape import EXECUTION_KIND, TYPE, execution_view

_ALPHABET = string.ascii_lowercase + string.digits
_STATES = {True: "Succeeded", False: "Failed"}


def start(call: Call) -> Reply:
    """One more execution, with the job's template or the one sent; answers with its name, without
    waiting for it.
    """
    azure, record = call.azure, tracked.acted_on(call, TYPE)
    job.OPERATIONS.idle(azure, record.key, record.name)
    if record.private["suspended"]:
        raise conflict("ContainerAppsJobSuspended", f"The job '{record.name}' is suspended.")
    template = job_shape.overridden(
        record.body["properties"]["template"], call.body if isinstance(call.body, dict) else None
    )
    checked = {**record.body["properties"], "template": template}
    job.template_rules(azure, record.private["environment"], checked, record.private["secrets"])
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(7))
    execution = azure.dispatch.begin(record, f"{record.name}-{suffix}", template)
    return Reply(200, {"id": execution.id, "name": execution.name})


def stop(call: Call) -> Reply:
    """Stop one; stopping what has ended already changes nothing."""
    azure, name = call.azure, call.target.names[1]
    _end(azure, _execution(call, _job(call), name))
    return Reply(200)


def stop_all(call: Call) -> Reply:
    """Stop whatever runs (or what the body names), and say what that was."""
    azure, record = call.azure, tracked.acted_on(call, TYPE)
    body = call.body if isinstance(call.body, dict) else {}
    names = {entry.get("name") for entry in body.get("value") or []}
    chosen = [
        execution
        for execution in azure.store.each(EXECUTION_KIND, record.id)
        if execution.body["status"] == "Running"
    ]
    chosen = [execution for execution in chosen if not names or execution.name in names]
    for execution in chosen:
        _end(azure, execution)
    return Reply(200, {"value": [_view(call, execution) for execution in chosen]})


def listing(call: Call) -> Reply:
    """Newest first."""
    record = tracked.acted_on(call, TYPE)
    return page(
        call,
        [
            _view(call, execution)
            for execution in reversed(call.azure.store.each(EXECUTION_KIND, record.id))
        ],
    )


def get(call: Call) -> Reply:
    return Reply(200, _view(call, _execution(call, _job(call), call.target.names[1])))


def replicas(call: Call) -> Reply:
    """The replicas of one execution, with the addresses of their logs."""
    execution = _execution(call, _job(call), call.target.names[1])
    return Reply(
        200,
        {
            "value": [
                _replica(call, execution, attempt)
                for attempt in call.azure.dispatch.attempts(execution)
            ]
        },
    )


def _end(azure: Azure, execution: Record) -> None:
    if execution.body["status"] == "Running":
        execution.body["status"] = "Stopped"
        azure.store.put(execution)
        azure.dispatch.changed()


def _job(call: Call) -> Record:
    record = call.azure.store.get("/".join(call.target.path.split("/")[:9]))
    if record is None or record.kind != job_shape.KIND:
        tracked.require_group(call)
        raise not_found(TYPE, call.target.names[0], call.target.group or "")
    return record


def _execution(call: Call, record: Record, name: str) -> Record:
    execution = call.azure.store.get(f"{record.id}/executions/{name}")
    if execution is None:
        text = f"The execution '{name}' of job '{record.name}' was not found."
        raise ArmError(404, "ContainerAppsJobExecutionNotFound", text)
    return execution


def _view(call: Call, execution: Record) -> Body:
    return execution_view(
        call,
        execution,
        [_detail(execution, attempt) for attempt in call.azure.dispatch.attempts(execution)],
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
ROUTES: dict[str, Handler] = {
    f"post {_BASE}/start": start,
    f"post {_BASE}/stop": stop_all,
    f"post {_BASE}/stop/{{}}": stop,
    f"post {_BASE}/executions/{{}}/stop": stop,
    f"get {_BASE}/executions": listing,
    f"get {_BASE}/executions/{{}}": get,
    f"get {_BASE}/executions/{{}}/replicas": replicas,
}
