"""How a container app looks to a client: the GET's state, the PUT's echo, and the ids' peculiar casing."""

from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm.call import Call
from infra.local_azure.store import Record

from . import app_shape, tracked

TYPE = "Microsoft.App/containerApps"
KIND = TYPE.lower()
REVISION_KIND = "microsoft.app/containerapps/revisions"
Body = dict[str, Any]


def view(call: Call, record: Record) -> Body:
    """The app as a GET returns it in this api-version."""
    stored, call_version = record.body["properties"], call.version
    state = stored["provisioningState"]
    latest = stored.get("latestRevisionName")
    configuration, template = dict(stored["configuration"]), dict(stored["template"])
    if configuration["ingress"]:
        configuration["ingress"] = {**configuration["ingress"], "fqdn": fqdn(record)}
    if call_version < "2024-08-02":
        template["scale"] = {key: template["scale"][key] for key in ("minReplicas", "maxReplicas", "rules")}
    elif call_version >= "2024-10":
        configuration = {"runtime": None, "identitySettings": [], **configuration}
    running = "Stopped" if record.private["stopped"] else "Progressing" if not latest else "Running"
    properties: Body = {
        **_head(call, record),
        "provisioningState": state,
        **tracked.failure(record),
        **({"runningStatus": running} if latest else {}),
        **({"latestRevisionName": latest} if latest else {}),
        "latestReadyRevisionName": stored.get("latestReadyRevisionName"),
        **({"latestRevisionFqdn": fqdn(record) if configuration["ingress"] else ""} if latest else {}),
        "configuration": configuration,
        "template": template,
        "eventStreamEndpoint": f"{call.base}{_stream_id(record)}/eventstream",
        "delegatedIdentities": [],
    }
    return _frame(record, record.body["systemData"], properties)


def echo(call: Call, record: Record, sent: Body) -> Body:
    """The answer to a PUT: what was sent in Azure's spelling, null where nothing was, and nothing that is known only later."""
    configuration = app_shape.configuration(sent.get("configuration"), fill=False)
    properties: Body = {
        **_head(call, record),
        "provisioningState": "InProgress",
        "configuration": configuration,
        "template": app_shape.template(sent.get("template"), fill=False),
        "delegatedIdentities": [],
    }
    for name in ("latestRevisionName", "latestReadyRevisionName", "runningStatus", "eventStreamEndpoint"):
        if sent.get(name) is not None:
            properties[name] = sent[name]
    data = {key: f"{value}Z" if key.endswith("At") else value for key, value in record.body["systemData"].items()}
    return _frame(record, data, properties)


def fqdn(record: Record) -> str:
    """Each app with ingress has a loopback port of its own, the same for as long as the app lives."""
    return f"localhost:{record.private['port']}"


def app_id(record: Record) -> str:
    """The id in the casing that children and endpoints use: `containerApps`."""
    return record.id.replace("/containerapps/", "/containerApps/")


def revision_id(record: Record, name: str) -> str:
    return f"{app_id(record)}/revisions/{name}"


def revision_view(record: Record, *, weight: int, fqdn: str | None, status: Any) -> Body:
    """A revision with the runtime's word on its health. `status` is a RevisionStatus."""
    body = record.body
    properties: Body = {
        "createdTime": clock.offset(body["created"]),
        "fqdn": fqdn,
        "template": app_shape.revision_template(body["template"]),
        "active": body["active"],
        "replicas": len(status.replicas),
        "trafficWeight": weight,
        **({"provisioningError": status.provisioning_error} if status.provisioning_error else {}),
        "healthState": status.health_state,
        "provisioningState": status.provisioning_state,
        "runningState": status.running_state,
        **({"runningStateDetails": status.details} if status.details else {}),
    }
    return {"id": record.id, "name": record.name, "type": "Microsoft.App/containerapps/revisions", "properties": properties}


def _head(call: Call, record: Record) -> Body:
    stored = record.body["properties"]
    environment = call.azure.store.get(record.private["environment"])
    return {
        "managedEnvironmentId": stored["environmentId"],
        "environmentId": stored["environmentId"],
        "workloadProfileName": stored["workloadProfileName"],
        "outboundIpAddresses": ["127.0.0.1"],
        "customDomainVerificationId": environment.private["verification"] if environment else None,
    }


def _frame(record: Record, data: Body, properties: Body) -> Body:
    frame: Body = {"id": record.id, "name": record.name, "type": TYPE, "location": record.body["location"]}
    frame |= {"tags": record.body["tags"]} if record.body.get("tags") else {}
    return {**frame, "systemData": data, "properties": properties, "identity": record.body["identity"]}


def _stream_id(record: Record) -> str:
    """The log host's paths have no provider in them."""
    return app_id(record).replace("/providers/Microsoft.App", "")
