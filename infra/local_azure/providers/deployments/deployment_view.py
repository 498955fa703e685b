"""How deployments and their operations look: the document of a PUT, a GET, a list and a
validation.
"""

import uuid
from typing import Any

from infra.local_azure import clock
from infra.local_azure.control.records import Body
from infra.local_azure.regions import normal
from infra.local_azure.store import Record
from infra.local_azure.templates import ids
from infra.local_azure.templates.hashing import template_hash
from infra.local_azure.templates.resource import DEPLOYMENT, Resource

from .deployment_request import TYPE, Opened, given


def fresh(request: Opened, state: str) -> Body:
    """The properties of a deployment that was just accepted."""
    return {
        "templateHash": template_hash(request.template.source),
        "parameters": request.template.parameters.shown(),
        "mode": given(request.properties),
        "provisioningState": state,
        "timestamp": clock.zulu(),
        "duration": "PT0S",
        "correlationId": str(uuid.uuid4()),
        "providers": _providers(request),
        "dependencies": [
            shown for one in request.resources if (shown := _dependency(one, request))
        ],
    }


def validated(request: Opened) -> Body:
    """The answer of a validation."""
    properties = fresh(request, "Succeeded")
    found = [one.id for one in (*request.resources, *request.nested)]
    return {**properties, "validatedResources": [{"id": identifier} for identifier in found]}


def document(identifier: str, properties: Body, more: Body) -> Body:
    """`more` is the location and the tags, where there are any."""
    named = {"id": identifier, "name": identifier.rsplit("/", 1)[-1], "type": TYPE}
    return {**named, **more, "properties": properties}


def view(record: Record) -> Body:
    body: Body = {key: record.body[key] for key in ("location", "tags") if key in record.body}
    return document(record.id, record.body["properties"], body)


def duration(seconds: float) -> str:
    """PT1M3.9913627S."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.7f}".rstrip("0").rstrip(".")
    return "PT" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "") + f"{text}S"


def operation(record: Record, identifier: str, done: Body) -> Body:
    """One entry of a deployment's operations: what was done to one resource; no resource means its
    outputs.
    """
    properties: Body = {
        "provisioningOperation": "Create" if identifier else "EvaluateDeploymentOutput",
        "provisioningState": done["state"],
        "timestamp": clock.zulu(done["ended"]),
        "duration": duration(done["ended"] - done["started"]),
        "trackingId": done["tracking"],
        "statusCode": done["code"],
    }
    if identifier:
        properties["targetResource"] = {"id": identifier, **_typed(identifier)}
    if done.get("error"):
        properties["statusMessage"] = {"error": done["error"]}
    name = done["tracking"].replace("-", "")[:16].upper()
    return {"id": f"{record.id}/operations/{name}", "operationId": name, "properties": properties}


def _typed(identifier: str) -> Body:
    _, kind, name = ids.split(identifier)
    return {"resourceType": kind, "resourceName": name}


def _providers(request: Opened) -> list[Body]:
    """Namespaces in the order of the template, each with its types and the regions they go to."""
    found: dict[str, dict[str, list[Any]]] = {}
    for one in request.resources:
        namespace, _, kind = one.kind.partition("/")
        place = one.body(defer=True).get("location") if one.kind.lower() != DEPLOYMENT else None
        regions = found.setdefault(namespace, {}).setdefault(kind, [])
        region = normal(str(place)) if place else None
        if region not in regions:
            regions.append(region)
    return [
        {
            "namespace": name,
            "resourceTypes": [
                {"resourceType": kind, "locations": places} for kind, places in kinds.items()
            ],
        }
        for name, kinds in found.items()
    ]


def _dependency(resource: Resource, request: Opened) -> Body | None:
    """What a resource waits for; what it reads by an expression is named with the api-version it is
    read by.
    """
    needs: list[Body] = []
    own = {one.key for one in request.template.resources}
    read = {ask.path.lower() for ask in resource.asks if ask.method == "GET"}
    needs += [{"id": need, **_typed(need)} for need in resource.needs if need.lower() not in read]
    for ask in resource.asks:
        path, action = (ask.path, None) if ask.method == "GET" else ask.path.rsplit("/", 1)
        if action and path.lower() in own and path not in (need["id"] for need in needs):
            needs.append({"id": path, **_typed(path)})
        entry = {"id": path, **_typed(path)}
        needs.append(
            {**entry, **({"actionName": action} if action else {}), "apiVersion": ask.version}
        )
    return {"dependsOn": needs, "id": resource.id, **_typed(resource.id)} if needs else None
