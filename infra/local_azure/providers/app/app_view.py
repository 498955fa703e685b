"""How a container app is shown: the state of a GET, the echo of a PUT, and the casing of ids."""

from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm.call import Call
from infra.local_azure.control import tracked
from infra.local_azure.control.naming import app_id, fqdn
from infra.local_azure.runtime.workload import RevisionStatus
from infra.local_azure.store import Record

from . import app_fields, app_shape
from .runnable import framed

TYPE = "Microsoft.App/containerApps"
Body = dict[str, Any]


def view(call: Call, record: Record, environment: Record | None) -> Body:
    """The app as a GET returns it in this api-version."""
    stored = record.body["properties"]
    configuration = dict(stored["configuration"])
    if configuration["ingress"]:
        configuration["ingress"] = {**configuration["ingress"], "fqdn": fqdn(record)}
    latest = stored.get("latestRevisionName") or ""
    document = {
        **_known(record, environment),
        "provisioningState": stored["provisioningState"],
        "runningStatus": "Stopped" if record.private["stopped"] else "Running",
        **tracked.failure(record),
        "latestRevisionName": latest,
        "latestReadyRevisionName": stored.get("latestReadyRevisionName") or "",
        "latestRevisionFqdn": revision_fqdn(record, environment, latest)
        if configuration["ingress"] and latest
        else "",
        "configuration": configuration,
        "template": stored["template"],
        "eventStreamEndpoint": f"{call.base}{_stream_id(record)}/eventstream",
    }
    return _framed(call, record, record.body["systemData"], document)


def echo(call: Call, record: Record, environment: Record | None, sent: Body) -> Body:
    """The answer to a PUT: the sent fields in Azure's spelling, null for the others, and no field
    that is known only later.

    The api-versions of 2023 answer with the state instead.
    """
    data = record.body["systemData"]
    moved = "At" if data["createdAt"] == data["lastModifiedAt"] else "lastModifiedAt"
    data = {key: f"{value}Z" if key.endswith(moved) else value for key, value in data.items()}
    if call.version < "2024-02":
        return {**view(call, record, environment), "systemData": data}
    document = {
        **_known(record, environment),
        "provisioningState": "InProgress",
        "configuration": app_shape.configuration(sent.get("configuration"), fill=False),
        "template": app_shape.template(sent.get("template"), fill=False),
    }
    ingress, given = (
        document["configuration"].get("ingress"),
        (sent.get("configuration") or {}).get("ingress") or {},
    )
    if ingress and given.get("fqdn"):
        ingress["fqdn"] = given["fqdn"]
    return _framed(call, record, data, document)


def _framed(call: Call, record: Record, data: Body, document: Body) -> Body:
    shown = framed(TYPE, record, data, app_fields.APP.render(document, call.version))
    if not app_fields.KIND.known(call.version):
        shown.pop("kind", None)
    return shown


def revision_fqdn(record: Record, environment: Record | None, revision: str) -> str:
    """A revision's address. Names below localhost resolve to this machine, so it is a name at the
    app's port.
    """
    if record.body["properties"]["configuration"]["ingress"]:
        return f"{revision}.{fqdn(record)}"
    return f"{revision}.{environment.private['domain']}" if environment else ""


def revision_view(
    call: Call,
    app: Record,
    environment: Record | None,
    record: Record,
    *,
    weight: int,
    status: RevisionStatus,
) -> Body:
    """A revision with what the runtime says of its health."""
    body = record.body
    template = {**body["template"], "revisionSuffix": None}
    # Not the app's template: here probes are a list and the suffix is null (recorded).
    template["scale"] = {**template["scale"], "cooldownPeriod": None, "pollingInterval": None}
    template["scale"]["rules"] = [
        _scaler(rule) for rule in template["scale"]["rules"] or []
    ] or None
    for name in ("containers", "initContainers"):
        template[name] = [{"probes": [], **entry} for entry in template[name] or []] or None
    properties: Body = {
        "createdTime": clock.offset(body["created"]),
        **(
            {"lastActiveTime": clock.offset(body["lastActive"])}
            if body.get("lastActive") and not body["active"]
            else {}
        ),
        "fqdn": revision_fqdn(app, environment, record.name),
        "template": app_fields.REVISION_TEMPLATE.render(template, call.version),
        "active": body["active"],
        "replicas": sum(not replica.ending for replica in status.replicas),
        "trafficWeight": weight,
        **({"provisioningError": status.provisioning_error} if status.provisioning_error else {}),
        "healthState": status.health_state,
        "provisioningState": status.provisioning_state,
        "runningState": status.running_state,
        **({"runningStateDetails": status.details} if status.details else {}),
    }
    return {
        "id": record.id,
        "name": record.name,
        "type": "Microsoft.App/containerapps/revisions",
        "properties": properties,
    }


def _scaler(rule: Body) -> Body:
    """An HTTP rule as a revision shows it: only the metadata that its scaler reads."""
    if not rule.get("http"):
        return rule
    told = {
        key: value
        for key, value in (rule["http"].get("metadata") or {}).items()
        if key == "concurrentRequests"
    }
    return {**rule, "http": {"metadata": told}}


def _known(record: Record, environment: Record | None) -> Body:
    """The properties that an app has from its creation on. In an environment with a network of the
    user, it has no outbound addresses of its own.
    """
    stored = record.body["properties"]
    network = environment.body["properties"].get("vnetConfiguration") if environment else None
    return {
        "managedEnvironmentId": stored["environmentId"],
        "environmentId": stored["environmentId"],
        "workloadProfileName": stored["workloadProfileName"],
        "patchingMode": "Automatic",
        "outboundIpAddresses": None if network else ["127.0.0.1"],
        "customDomainVerificationId": environment.private["verification"] if environment else None,
        "delegatedIdentities": [],
    }


def _stream_id(record: Record) -> str:
    """The log host's paths have no provider in them."""
    return app_id(record).replace("/providers/Microsoft.App", "")
