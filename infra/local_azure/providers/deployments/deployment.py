"""Template deployments at a resource group and at the subscription. Neighbours:
`deployment_request` reads them, `deployment_run` carries them out, `deployment_view` shows them,
`deployment_whatif` foretells them.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from infra.local_azure import clock
from infra.local_azure.arm import ids, operations
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import GATEWAY, ArmError, bad_request, conflict
from infra.local_azure.arm.operations import Operation
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.providers import resource_group, tracked
from infra.local_azure.providers.resource_filter import compared
from infra.local_azure.providers.tracked import Body
from infra.local_azure.store import Record
from infra.local_azure.templates.hashing import template_hash

from . import deployment_run, deployment_view, deployment_whatif
from .deployment_request import KIND, deployment_id, opened
from .deployment_run import ACTIVE

_EPOCH_TICKS = 621355968000000000


def put(call: Call) -> Reply:
    """Accepted at once and carried out behind; 201 for a new name, 200 for one that was used
    before.
    """
    azure = call.azure
    if call.target.group:
        tracked.require_group(call)
    known = azure.store.get(call.target.key)
    if known and known.body["properties"]["provisioningState"] in ACTIVE:
        text = (
            f"Unable to edit or replace deployment '{known.name}': previous deployment from"
            f" '{known.body['properties']['timestamp']}' is still active. Please see"
            " https://aka.ms/arm-deploy for usage details."
        )
        raise conflict("DeploymentActive", text)
    request = opened(call)
    number = f"{(1 << 63) - 1 - _EPOCH_TICKS - int(clock.now() * 1e7):020}"
    private = {
        "request": request.properties,
        "principal": call.principal,
        "operation": number,
        "started": clock.now(),
        "done": {},
    }
    properties = deployment_view.fresh(request, "Accepted")
    record = Record(request.identifier, KIND, {**_more(call), "properties": properties}, private)
    if known:
        azure.store.delete(known.key)
    azure.store.put(record)
    deployment_run.begin(azure, record.key)
    where = f"{call.base}{record.id}/operationStatuses/{number}?api-version={call.version}"
    return Reply(
        200 if known else 201,
        deployment_view.view(record),
        {"Azure-AsyncOperation": where, **operations.waiting(call)},
    )


def validate(call: Call) -> Reply:
    request = opened(call)
    return Reply(
        200,
        deployment_view.document(
            request.identifier, deployment_view.validated(request), _more(call)
        ),
    )


async def what_if(call: Call) -> Reply:
    """Worked out now, handed out when the operation is over."""
    request = opened(call)
    changes = await deployment_whatif.changes(call, request)
    running = call.azure.operations.begin(request.identifier + "/whatif", "deployment.foretold")
    result = {
        "status": "Succeeded",
        "properties": {"correlationId": running.id, "changes": changes},
    }
    call.azure.store.keep(f"result:{running.id}", json.dumps(result))
    return resource_group.accepted(call, running)


def foretold(_azure: Azure, _operation: Operation) -> None:
    """Nothing is left to do: the result was kept when the what-if was accepted."""


def get(call: Call) -> Reply:
    return Reply(200, deployment_view.view(_find(call)))


def listing(call: Call) -> Reply:
    """Those of one scope, the newest first."""
    prefix = tracked.scope(call) or f"/subscriptions/{call.target.subscription}"
    depth = len(prefix.split("/")) + 4
    found = [
        record
        for record in call.azure.store.each(KIND, prefix)
        if len(record.id.split("/")) == depth
    ]
    wanted = compared(call.query.get("$filter"))
    shown = [deployment_view.view(record) for record in reversed(found)]
    return page(call, [one for one in shown if wanted({**one["properties"], "name": one["name"]})])


def delete(call: Call) -> Reply:
    """Only the deployment's record goes; what it deployed stays."""
    record = call.azure.store.get(call.target.key)
    if record is None:
        return Reply(204)
    if record.body["properties"]["provisioningState"] in ACTIVE:
        raise conflict(
            "DeploymentActive",
            f"The deployment '{record.name}' cannot be deleted because it is still active.",
        )
    running = call.azure.operations.begin(record.key, "deployment.deleted")
    return resource_group.accepted(call, running)


def deleted(azure: Azure, operation: Operation) -> None:
    azure.store.delete(operation.resource)


def cancel(call: Call) -> Reply:
    """What already runs is left to end; nothing more is begun."""
    record = _find(call)
    properties = record.body["properties"]
    if properties["provisioningState"] not in ACTIVE:
        text = (
            f"The deployment '{record.name}' cannot be canceled because it is in the state"
            f" '{properties['provisioningState']}'."
        )
        raise conflict("DeploymentCannotBeCancelled", text)
    properties |= {"provisioningState": "Canceled", "timestamp": clock.zulu()}
    properties["duration"] = deployment_view.duration(clock.now() - record.private["started"])
    call.azure.store.put(record)
    return Reply(204)


def export(call: Call) -> Reply:
    return Reply(200, {"template": _find(call).private["request"]["template"]})


def status(call: Call) -> Reply:
    record = _find(call)
    if record.private["operation"] != call.target.name:
        raise ArmError(
            404,
            "OperationNotFound",
            f"The operation '{call.target.name}' could not be found.",
            headers=GATEWAY,
        )
    properties = record.body["properties"]
    state = properties["provisioningState"]
    body: Body = {
        "status": state,
        **({"error": properties["error"]} if "error" in properties else {}),
    }
    return Reply(200, body, operations.waiting(call) if state in ACTIVE else {})


def steps(call: Call) -> Reply:
    """What was done to each resource so far, the latest first."""
    record = _find(call)
    done = sorted(record.private["done"].values(), key=lambda one: -one["started"])
    return page(call, [deployment_view.operation(record, one["id"], one) for one in done])


def step(call: Call) -> Reply:
    record = _find(call)
    for one in record.private["done"].values():
        shown = deployment_view.operation(record, one["id"], one)
        if shown["operationId"] == call.target.name.upper():
            return Reply(200, shown)
    raise ArmError(
        404,
        "DeploymentOperationNotFound",
        f"The operation '{call.target.name}' could not be found.",
        headers=GATEWAY,
    )


def short(handler: Callable[[Call], Reply]) -> Handler:
    """Operations of a group's deployment have an address without `providers/Microsoft.Resources` as
    well.
    """

    def answer(call: Call) -> Reply:
        whole = call.target.path.replace(
            "/deployments/", "/providers/Microsoft.Resources/deployments/", 1
        )
        return handler(replace(call, target=ids.parse(quote(whole))))

    return answer


def calculate_hash(call: Call) -> Reply:
    if not isinstance(call.body, dict):
        raise bad_request("InvalidTemplate", "The template is not a JSON object.")
    minified = json.dumps(call.body, ensure_ascii=False, separators=(",", ":"))
    return Reply(200, {"minifiedTemplate": minified, "templateHash": template_hash(call.body)})


def _find(call: Call) -> Record:
    record = call.azure.store.get(deployment_id(call))
    if record is None:
        if call.target.group:
            tracked.require_group(call)
        text = f"Deployment '{call.target.names[0]}' could not be found."
        raise ArmError(404, "DeploymentNotFound", text, headers=GATEWAY)
    return record


def _more(call: Call) -> Body:
    body = call.document()
    place = {"location": body["location"]} if body.get("location") else {}
    return {**place, **({"tags": body["tags"]} if body.get("tags") else {})}


ROUTES: dict[str, Handler] = {
    "put microsoft.resources/deployments/{}": put,
    "get microsoft.resources/deployments/{}": get,
    "delete microsoft.resources/deployments/{}": delete,
    "get microsoft.resources/deployments": listing,
    "post microsoft.resources/deployments/{}/validate": validate,
    "post microsoft.resources/deployments/{}/whatif": what_if,
    "post microsoft.resources/deployments/{}/cancel": cancel,
    "post microsoft.resources/deployments/{}/exporttemplate": export,
    "get microsoft.resources/deployments/{}/operationstatuses/{}": status,
    "get microsoft.resources/deployments/{}/operations": steps,
    "get microsoft.resources/deployments/{}/operations/{}": step,
    "get subscriptions/{}/resourcegroups/{}/deployments/{}/operations": short(steps),
    "get subscriptions/{}/resourcegroups/{}/deployments/{}/operations/{}": short(step),
    "post providers/microsoft.resources/calculatetemplatehash": calculate_hash,
}
