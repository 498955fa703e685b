"""A job's document: what was sent, spelled as Azure spells it with its defaults, and how each
api-version shows it.
"""

from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm.call import Call
from infra.local_azure.store import Record

from . import app_fields, app_shape
from .runnable import framed

TYPE = "Microsoft.App/jobs"
EXECUTION_TYPE = "Microsoft.App/jobs/executions"
Body = dict[str, Any]
_TRIGGERS = {"manual": "Manual", "schedule": "Schedule", "event": "Event"}
_EXECUTIONS: Body = {"minExecutions": 0, "maxExecutions": 100, "pollingInterval": 30, "rules": []}
_NEWEST = "9998-12-31"  # no field of a job's scale rule depends on the api-version
_TEMPLATE = ("containers", "initContainers", "volumes")


def configuration(sent: Body) -> Body:
    """`properties.configuration` without secret values."""
    trigger = str(sent.get("triggerType") or "Manual")
    trigger = _TRIGGERS.get(trigger.lower(), trigger)
    secrets, registries = sent.get("secrets"), sent.get("registries")
    return {
        "secrets": (
            [_known(entry, "name", "keyVaultUrl", "identity") for entry in secrets or []] or None
        ),
        "triggerType": trigger,
        "replicaTimeout": sent.get("replicaTimeout"),
        "replicaRetryLimit": sent.get("replicaRetryLimit") or 0,
        "manualTriggerConfig": _counts(sent.get("manualTriggerConfig"), wanted=trigger == "Manual"),
        "scheduleTriggerConfig": _schedule(sent.get("scheduleTriggerConfig")),
        "eventTriggerConfig": _event(sent.get("eventTriggerConfig")),
        "registries": (
            None
            if registries is None
            else [
                _known(entry, "server", "username", "passwordSecretRef", "identity")
                for entry in registries
            ]
        ),
        "identitySettings": sent.get("identitySettings") or [],
        "dapr": sent.get("dapr"),
    }


def template(sent: Body | None) -> Body:
    filled = app_shape.template(sent, fill=True)
    return {name: filled[name] for name in _TEMPLATE}


def overridden(job: Body, sent: Body | None) -> Body:
    """The template of one execution: what `start` sends replaces the containers, but volumes and
    mounts are inherited.
    """
    if not sent:
        return job
    chosen = template(
        {**job, **{name: sent[name] for name in ("containers", "initContainers") if sent.get(name)}}
    )
    for name in ("containers", "initContainers"):
        before = {entry.get("name"): entry for entry in job[name] or []}
        for index, entry in enumerate(chosen[name] or []):
            old = before.get(entry.get("name")) or (
                job[name][index] if index < len(job[name] or []) else {}
            )
            for inherited in ("name", "image", "volumeMounts"):
                if old.get(inherited) and not entry.get(inherited):
                    entry[inherited] = old[inherited]
    return chosen


def view(call: Call, record: Record, *, echo: bool = False) -> Body:
    """The job as a GET returns it in this api-version; the answer to a PUT (`echo`) writes instants
    with a Z.
    """
    stored, version = record.body["properties"], call.version
    app = record.id.replace("/providers/Microsoft.App/jobs/", "/containerApps/")
    where = f"{call.base}{app}/eventstream"
    settings = dict(stored["configuration"])
    running: Body = {}
    if version < "2024-08":
        del settings["identitySettings"]
        disk = None if echo or not record.private["fresh"] else ""
    else:
        disk = "computed"
        running = {"runningStatus": "Suspended" if record.private["suspended"] else "Ready"}
    if version >= "2026-03":
        running["runningState"] = running["runningStatus"]
    properties = {
        "provisioningState": "InProgress" if echo else stored["provisioningState"],
        **running,
        "environmentId": stored["environmentId"],
        "workloadProfileName": stored["workloadProfileName"],
        "configuration": settings,
        "template": shown_template(
            stored["template"],
            disk,
            "ContainerImage" if version.endswith("preview") and version >= "2024-10" else None,
        ),
        "eventStreamEndpoint": where,
    }
    data = dict(record.body["systemData"])
    if echo:
        moved = "At" if data["createdAt"] == data["lastModifiedAt"] else "lastModifiedAt"
        data = {key: f"{value}Z" if key.endswith(moved) else value for key, value in data.items()}
    return framed(TYPE, record, data, properties)


def execution_view(call: Call, record: Record, replicas: list[Body]) -> Body:
    """An execution. Its containers show the variables that each replica gets, without the values
    known only there.
    """
    body, job = record.body, record.id.split("/")[-3]
    own = (
        ("CONTAINER_APP_JOB_NAME", job),
        ("CONTAINER_APP_JOB_EXECUTION_NAME", ""),
        ("CONTAINER_APP_REPLICA_NAME", ""),
    )
    added = [{"name": name, "value": value} for name, value in own]
    shown = shown_template(body["template"], "", "CloudBuild")
    containers = [
        {
            **{key: value for key, value in entry.items() if key not in {"probes", "volumeMounts"}},
            "env": [*entry.get("env", []), *added],
        }
        for entry in shown["containers"]
    ]
    properties: Body = {"status": body["status"], "startTime": clock.offset(body["started"])}
    properties |= {"endTime": clock.offset(body["ended"])} if body.get("ended") else {}
    inits = [
        {key: value for key, value in entry.items() if key != "volumeMounts"}
        for entry in shown["initContainers"] or []
    ]
    properties["template"] = {"containers": containers, "initContainers": inits}
    if call.version >= "2026-03" or (
        call.version >= "2024-08" and call.version.endswith("-preview")
    ):
        properties["detailedStatus"] = {"replicas": replicas}
    if call.version >= "2026-03" and body.get("reason"):
        properties |= {"reason": body["reason"], "message": body["message"]}
    return {"id": record.id, "name": record.name, "type": EXECUTION_TYPE, "properties": properties}


def shown_template(stored: Body, disk: str | None, image_type: str | None) -> Body:
    """`disk` is the ephemeralStorage to show: None leaves it out, "computed" shows what the cores
    give.
    """
    shown = dict(stored)
    for name in ("containers", "initContainers"):
        entries = [dict(entry) for entry in stored[name] or []]
        for entry in entries:
            entry.pop("imageType", None)
            if image_type:
                entry["imageType"] = image_type
            resources = {
                key: value for key, value in entry["resources"].items() if key != "ephemeralStorage"
            }
            if disk is not None:
                resources["ephemeralStorage"] = (
                    entry["resources"]["ephemeralStorage"] if disk == "computed" else disk
                )
            entry["resources"] = resources
        shown[name] = entries or None
    return shown


def _counts(sent: Body | None, *, wanted: bool) -> Body | None:
    if sent is None and not wanted:
        return None
    given = sent or {}
    return {
        name: 1 if given.get(name) is None else int(given[name])
        for name in ("replicaCompletionCount", "parallelism")
    }


def _schedule(sent: Body | None) -> Body | None:
    counts = _counts(sent, wanted=False)
    return (
        {**counts, "cronExpression": (sent or {}).get("cronExpression")}
        if counts is not None
        else None
    )


def _event(sent: Body | None) -> Body | None:
    """Of a scale rule, Azure drops what is empty and what is no field of a job's rules."""
    counts = _counts(sent, wanted=False)
    if counts is None or sent is None:
        return None
    where = "properties.configuration.eventTriggerConfig.scale"
    scale = app_fields.JOB_SCALE.read(sent.get("scale") or {}, where)
    shown = app_fields.JOB_SCALE.render({**_EXECUTIONS, **scale}, _NEWEST)
    return {**counts, "scale": shown}


def _known(sent: Body, *names: str) -> Body:
    return {name: sent[name] for name in names if sent.get(name)}
