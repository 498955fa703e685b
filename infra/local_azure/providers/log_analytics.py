"""Log Analytics workspaces with their shared keys, soft delete and recovery."""

import base64
import re
import secrets
import uuid
from datetime import timedelta

from infra.local_azure import clock
from infra.local_azure.arm import operations, shapes
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import bad_request, not_found
from infra.local_azure.arm.operations import Operation
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.store import Record

from . import tracked
from .tracked import Body

TYPE = "Microsoft.OperationalInsights/workspaces"
KIND = TYPE.lower()
DELETED = "microsoft.operationalinsights/deletedworkspaces"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]")
_KEPT_S = 14 * 86400
_SKUS = {
    "pergb2018": "PerGB2018",
    "standalone": "PerGB2018",
    "free": "Free",
    "capacityreservation": "CapacityReservation",
}


def put(call: Call) -> Reply:
    """A new one is `Creating` for a while and is asked about by its own address; a deleted one
    comes back as it was.
    """
    azure, body = call.azure, call.document()
    tracked.require_group(call)
    if not _NAME.fullmatch(call.target.name):
        raise bad_request(
            "InvalidResourceName", f"The workspace name '{call.target.name}' is not valid."
        )
    known = azure.store.get(call.target.key)
    restored = None if known else azure.store.get(_deleted_id(call.target.path))
    place = tracked.location(body, known or restored, TYPE)
    record = known or restored or Record(tracked.new_id(call, TYPE), KIND, {}, _keys())
    if restored:
        record = Record(tracked.new_id(call, TYPE), KIND, restored.body, restored.private)
    with azure.store.transaction():
        record.body = _shape(body, record.body, place)
        if not known and not restored:
            record.body["properties"]["provisioningState"] = "Creating"
            azure.operations.begin(record.key, "workspace.created")
        if restored:
            azure.store.delete(restored.key)
        azure.store.put(record)
    if known or restored:
        return Reply(200, _view(record))
    where = f"{call.base}{record.id}?api-version={call.version}"
    return Reply(201, _view(record), {"Location": where, **operations.waiting(call)})


def created(azure: Azure, operation: Operation) -> None:
    record = azure.store.get(operation.resource)
    if record is not None:
        record.body["properties"].update(provisioningState="Succeeded", modifiedDate=clock.zulu())
        record.body["etag"] = _etag()
        azure.store.put(record)


def get(call: Call) -> Reply:
    record = tracked.find(call, TYPE)
    creating = record.body["properties"]["provisioningState"] == "Creating"
    return Reply(200, _view(record), operations.waiting(call) if creating else {})


def patch(call: Call) -> Reply:
    record = tracked.find(call, TYPE)
    record.body = _shape(
        {**call.document(), "location": None}, record.body, record.body["location"]
    )
    call.azure.store.put(record)
    return Reply(200, _view(record))


def listing(call: Call) -> Reply:
    return page(
        call, [_view(record) for record in call.azure.store.each(KIND, tracked.scope(call))]
    )


def delete(call: Call) -> Reply:
    """At once in older versions, an operation from 2025-07-01 on; without `force` the workspace can
    be had back.
    """
    azure = call.azure
    tracked.require_group(call)
    record = azure.store.get(call.target.key)
    if record is None:
        return Reply(204)
    with azure.store.transaction():
        azure.store.delete(record.key)
        if call.query.get("force", "").lower() != "true":
            azure.store.put(
                Record(
                    _deleted_id(record.id),
                    DELETED,
                    record.body,
                    {**record.private, "deleted": clock.now()},
                )
            )
        if call.version < "2025-07-01":
            return Reply(200)
        running = azure.operations.begin(record.key, "workspace.deleted")
    status = operations.url(
        call,
        "Microsoft.OperationalInsights",
        record.body["location"],
        "operationstatuses",
        running,
        status=False,
    )
    where = f"{call.base}{record.id}/operationresults/{running.id}?api-version={call.version}"
    return Reply(
        202, None, {"Azure-AsyncOperation": status, "Location": where, **operations.waiting(call)}
    )


def deleted(_azure: Azure, _operation: Operation) -> None:
    """Nothing is left to do: the workspace went when its deletion was accepted."""


def status(call: Call) -> Reply:
    running = _operation(call)
    body: Body = {
        "id": call.target.path,
        "name": running.id,
        "status": running.status,
        "startTime": clock.zulu(running.started),
    }
    if running.done:
        return Reply(200, {**body, "endTime": clock.zulu(running.due), "properties": {}})
    return Reply(200, body, operations.waiting(call))


def result(call: Call) -> Reply:
    running = _operation(call)
    if running.done:
        return Reply(200)
    return Reply(
        202,
        None,
        {
            "Location": f"{call.base}{call.target.path}?api-version={call.version}",
            **operations.waiting(call),
        },
    )


def shared_keys(call: Call) -> Reply:
    record = tracked.acted_on(call, TYPE)
    return Reply(
        200,
        {
            "primarySharedKey": record.private["primary"],
            "secondarySharedKey": record.private["secondary"],
        },
    )


def regenerate(call: Call) -> Reply:
    """Both keys anew; whoever sends logs with the old ones is refused on Azure."""
    record = tracked.acted_on(call, TYPE)
    record.private |= _keys()
    call.azure.store.put(record)
    return shared_keys(call)


def usages(call: Call) -> Reply:
    properties = tracked.acted_on(call, TYPE).body["properties"]
    cap = float(properties["workspaceCapping"]["dailyQuotaGb"])
    analyzed = {
        "name": {"value": "DataAnalyzed", "localizedValue": "Data Analyzed"},
        "unit": "Bytes",
        "currentValue": 0.0,
    }
    limits = {
        "limit": cap if cap < 0 else cap * 1e9,
        "nextResetTime": properties["workspaceCapping"]["quotaNextResetTime"],
    }
    return Reply(200, {"value": [{**analyzed, **limits, "quotaPeriod": "P1D"}]})


def management_groups(call: Call) -> Reply:
    """Operations Manager's, of which there is none."""
    tracked.acted_on(call, TYPE)
    return Reply(200, {"value": []})


def deleted_ones(call: Call) -> Reply:
    """What can be had back by creating it again."""
    kept = []
    for record in call.azure.store.each(DELETED, tracked.scope(call)):
        if clock.now() - record.private.get("deleted", clock.now()) > _KEPT_S:
            call.azure.store.delete(record.key)
            continue
        shown = {
            **record.body,
            "properties": {**record.body["properties"], "provisioningState": "Deleting"},
        }
        identifier = record.id.replace("/deletedWorkspaces/", "/workspaces/")
        kept.append({**shown, "id": identifier, "name": record.name, "type": TYPE})
    return page(call, kept)


def _operation(call: Call) -> Operation:
    running = call.azure.operations.get(call.target.name)
    if running is None:
        raise not_found(
            "Microsoft.OperationalInsights/locations/operationstatuses",
            call.target.name,
            call.target.group or "",
        )
    return running


def _shape(body: Body, before: Body, place: str) -> Body:
    """The stored workspace after a write: what was sent over what was there over Azure's
    defaults.
    """
    now, sent, old = clock.zulu(), body.get("properties") or {}, before.get("properties") or {}
    sku = shapes.known(shapes.SKU, sent.get("sku") or old.get("sku") or {})
    sku["name"] = _SKUS.get(str(sku.get("name", "")).lower(), sku.get("name", "PerGB2018"))
    sku["lastSkuUpdate"] = old["sku"]["lastSkuUpdate"] if old.get("sku") else now
    days = sent.get("retentionInDays") or old.get("retentionInDays") or 30
    if not isinstance(days, int) or not (4 <= days <= 730):
        raise bad_request(
            "InvalidParameter",
            f"'RetentionInDays' property doesn't match the SKU limits. Value '{days}' is not"
            " valid.",
        )
    cap = (sent.get("workspaceCapping") or {}).get(
        "dailyQuotaGb", (old.get("workspaceCapping") or {}).get("dailyQuotaGb", -1.0)
    )
    properties: Body = {
        "customerId": old.get("customerId") or str(uuid.uuid4()),
        "provisioningState": old.get("provisioningState") or "Succeeded",
        "sku": sku,
        "retentionInDays": days,
        "features": {
            "legacy": 0,
            "searchVersion": 1,
            "enableLogAccessUsingOnlyResourcePermissions": True,
            **(old.get("features") or {}),
            **(sent.get("features") or {}),
        },
        "workspaceCapping": {
            "dailyQuotaGb": cap,
            "quotaNextResetTime": _reset(place),
            "dataIngestionStatus": "RespectQuota",
        },
        "createdDate": old.get("createdDate") or now,
        "modifiedDate": now,
    }
    for name in ("publicNetworkAccessForIngestion", "publicNetworkAccessForQuery"):
        properties[name] = sent.get(name) or old.get(name) or "Enabled"
    shaped: Body = {"properties": properties, "location": place, "etag": _etag()}
    kept = before.get("tags") if body.get("tags") is None else tracked.tags(body) or {}
    return shaped if kept is None else {**shaped, "tags": kept}


def _reset(place: str) -> str:
    """The cap counts anew once a day, at an hour that a region keeps."""
    now = clock.moment()
    due = now.replace(hour=sum(place.encode()) % 24, minute=0, second=0, microsecond=0)
    return f"{due if due > now else due + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"


def _view(record: Record) -> Body:
    return {**record.body, "id": record.id, "name": record.name, "type": TYPE}


def _deleted_id(identifier: str) -> str:
    head, name = identifier.rsplit("/", 1)
    return f"{head.rsplit('/', 1)[0]}/deletedWorkspaces/{name}"


def _keys() -> dict[str, str]:
    return {
        name: base64.b64encode(secrets.token_bytes(64)).decode()
        for name in ("primary", "secondary")
    }


def _etag() -> str:
    return f'"{uuid.uuid4()}"'


ROUTES: dict[str, Handler] = {
    "put microsoft.operationalinsights/workspaces/{}": put,
    "get microsoft.operationalinsights/workspaces/{}": get,
    "patch microsoft.operationalinsights/workspaces/{}": patch,
    "delete microsoft.operationalinsights/workspaces/{}": delete,
    "get microsoft.operationalinsights/workspaces": listing,
    "post microsoft.operationalinsights/workspaces/{}/sharedkeys": shared_keys,
    "post microsoft.operationalinsights/workspaces/{}/listkeys": shared_keys,
    "post microsoft.operationalinsights/workspaces/{}/regeneratesharedkey": regenerate,
    "get microsoft.operationalinsights/workspaces/{}/usages": usages,
    "get microsoft.operationalinsights/workspaces/{}/managementgroups": management_groups,
    "get microsoft.operationalinsights/deletedworkspaces": deleted_ones,
    "get microsoft.operationalinsights/locations/{}/operationstatuses/{}": status,
    "get microsoft.operationalinsights/workspaces/{}/operationresults/{}": result,
}
