"""Resource groups and the list of what they hold."""

import base64
import json
import re

from infra.local_azure.arm import operations
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import bad_request, group_not_found
from infra.local_azure.arm.operations import Operation
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.files import tree
from infra.local_azure.store import Record

from . import tracked
from .resource_filter import matcher
from .tracked import GROUPS, Body

_NAME = re.compile(r"[-\w().]{0,89}[-\w()]")
SHOWN = {
    "microsoft.app/containerapps": "Microsoft.App/containerApps",
    "microsoft.app/jobs": "Microsoft.App/jobs",
    "microsoft.app/managedenvironments": "Microsoft.App/managedEnvironments",
    "microsoft.operationalinsights/workspaces": "Microsoft.OperationalInsights/workspaces",
    "microsoft.storage/storageaccounts": "Microsoft.Storage/storageAccounts",
}


def put(call: Call) -> Reply:
    body, name = call.document(), call.target.group or ""
    if not _NAME.fullmatch(name):
        raise bad_request(
            "InvalidParameter",
            "The provided resource group name has these invalid characters or is too long.",
        )
    known = call.azure.store.get(call.target.group_id)
    if known is not None:
        tracked.require_group(call)
    try:
        place = tracked.location(body, known, "Microsoft.Resources/resourceGroups")
    except Exception as refused:
        if getattr(refused, "code", "") == "LocationNotAvailableForResourceType":
            text = (
                f"The provided location '{body.get('location')}' is not available for resource"
                " group."
            )
            raise bad_request("LocationNotAvailableForResourceGroup", text) from None
        raise
    shown: Body = {"location": place, "properties": {"provisioningState": "Succeeded"}}
    if manager := body.get("managedBy") or (known.body.get("managedBy") if known else None):
        shown["managedBy"] = str(manager)
    if body.get("tags") is not None:
        shown["tags"] = tracked.tags(body) or {}
    record = Record(known.id if known else call.target.group_id, GROUPS, shown)
    call.azure.store.put(record)
    return Reply(200 if known else 201, view(record))


def get(call: Call) -> Reply:
    return Reply(200, view(tracked.require_group(call)))


def head(call: Call) -> Reply:
    return Reply(204 if call.azure.store.get(call.target.group_id) else 404)


def patch(call: Call) -> Reply:
    """Tags are replaced whole."""
    record = tracked.require_group(call)
    body = call.document()
    if "tags" in body:
        record.body["tags"] = tracked.tags(body) or {}
    call.azure.store.put(record)
    return Reply(200, view(record))


def listing(call: Call) -> Reply:
    groups = [view(record) for record in call.azure.store.each(GROUPS)]
    wanted = matcher(call.query.get("$filter"))
    return page(call, [group for group in groups if wanted(group)])


def delete(call: Call) -> Reply:
    """Everything inside goes with it; a second DELETE joins the first."""
    azure = call.azure
    record = azure.store.get(call.target.group_id)
    if record is None:
        raise group_not_found(call.target.group or "")
    running = azure.operations.busy(record.key)
    if running is None:
        with azure.store.transaction():
            record.body["properties"]["provisioningState"] = "Deleting"
            azure.store.put(record)
            running = azure.operations.begin(record.key, "group.deleted", factor=4)
        azure.composition.changed()
    return accepted(call, running)


def accepted(call: Call, running: Operation) -> Reply:
    """202 and the place where the result will be."""
    token = base64.urlsafe_b64encode(running.id.encode()).decode().rstrip("=")
    subscription = f"{call.base}/subscriptions/{call.target.subscription}"
    where = f"{subscription}/operationresults/{token}?api-version={call.version}"
    return Reply(202, None, {"Location": where, **operations.waiting(call)})


def deleted(azure: Azure, operation: Operation) -> None:
    for record in azure.store.each("microsoft.storage/storageaccounts", operation.resource):
        tree.discard(tree.account(azure.options, record.name))
    azure.store.delete(operation.resource)
    azure.composition.changed()


def result(call: Call) -> Reply:
    """Where a group's deletion is asked about: 202 until it is gone, then 200 with nothing; what-if
    leaves its result there.
    """
    token = call.target.path.rsplit("/", 1)[-1]
    try:
        identifier = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        identifier = ""
    operation = call.azure.operations.get(identifier)
    if operation is None:
        raise bad_request("InvalidOperationId", f"The operation '{token}' is not known.")
    operations.refuse_failed(operation)
    if operation.done:
        kept = call.azure.store.read(f"result:{operation.id}")
        return Reply(200, json.loads(kept) if kept else None)
    return Reply(
        202,
        None,
        {
            "Location": f"{call.base}{call.target.path}?api-version={call.version}",
            **operations.waiting(call),
        },
    )


def resources(call: Call) -> Reply:
    """The tracked resources of a group or of the subscription, with ARM's $filter."""
    prefix = tracked.scope(call) or f"/subscriptions/{call.target.subscription}"
    wanted = matcher(call.query.get("$filter"))
    items = [_item(record) for record in call.azure.store.below(prefix) if record.kind in SHOWN]
    return page(call, [item for item in items if wanted(item)])


def view(record: Record) -> Body:
    body = {
        "id": record.id,
        "name": record.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": record.body["location"],
    }
    return {
        **body,
        **{
            key: record.body[key]
            for key in ("managedBy", "tags", "properties")
            if key in record.body
        },
    }


def _item(record: Record) -> Body:
    body = record.body
    item: Body = {"id": record.id, "name": record.name, "type": SHOWN[record.kind]}
    item["location"] = body["location"].replace(" ", "").lower()
    return {
        **item,
        **{
            key: body[key]
            for key in ("sku", "kind", "tags", "identity", "systemData")
            if key in body
        },
    }


ROUTES: dict[str, Handler] = {
    "get subscriptions/{}/resourcegroups": listing,
    "put subscriptions/{}/resourcegroups/{}": put,
    "get subscriptions/{}/resourcegroups/{}": get,
    "head subscriptions/{}/resourcegroups/{}": head,
    "patch subscriptions/{}/resourcegroups/{}": patch,
    "delete subscriptions/{}/resourcegroups/{}": delete,
    "get subscriptions/{}/resourcegroups/{}/resources": resources,
    "get subscriptions/{}/resources": resources,
    "get subscriptions/{}/operationresults/{}": result,
}
