"""What a deployment would change: each resource of the template compared with the existing one."""

from typing import Any

from infra.local_azure.arm.call import Call
from infra.local_azure.arm.front import Front
from infra.local_azure.control.records import Body, Records
from infra.local_azure.regions import normal
from infra.local_azure.store import Store
from infra.local_azure.templates.expression import is_expression
from infra.local_azure.templates.resource import Resource
from infra.local_azure.templates.structures import member, merged, same

from .deployment_prune import extra
from .deployment_request import Opened, given

# What providers fill in themselves and no template sets; a what-if leaves it out of both sides.
_READ_ONLY = {
    "creationtime",
    "createddate",
    "customdomainverificationid",
    "customerid",
    "defaultdomain",
    "etag",
    "eventstreamendpoint",
    "keycreationtime",
    "latestreadyrevisionname",
    "latestrevisionfqdn",
    "latestrevisionname",
    "modifieddate",
    "outboundipaddresses",
    "primaryendpoints",
    "primarylocation",
    "privateendpointconnections",
    "provisioningstate",
    "quotanextresettime",
    "runningstatus",
    "staticip",
    "statusofprimary",
    "systemdata",
}


async def changes(
    store: Store, records: Records, front: Front, call: Call, request: Opened
) -> list[Body]:
    """In the order of the resource ids; in Complete mode what the template lacks is deleted, else
    it is ignored.
    """
    short = _short(call)
    found = [
        await _change(front, call, one, short=short)
        for one in (*request.resources, *request.nested)
        if one.kind.lower() != "microsoft.resources/deployments"
    ]
    kept = {str(one["resourceId"]).lower() for one in found}
    group = store.get(call.target.group_id) if call.target.group else None
    for record in extra(records, group.id, kept) if group else []:
        kind = "Delete" if given(request.properties) == "Complete" else "Ignore"
        shown = {} if short else {"before": await _current(front, call, record.id, "2025-07-01")}
        found.append({"resourceId": record.id, "changeType": kind, **shown})
    return sorted(found, key=lambda one: str(one["resourceId"]).lower())


async def _change(front: Front, call: Call, resource: Resource, *, short: bool) -> Body:
    before = await _current(front, call, resource.id, resource.version)
    sent = {"apiVersion": resource.version, "id": resource.id, **resource.body(defer=True)}
    after = _sorted({**sent, "name": resource.name.rsplit("/", 1)[-1], "type": resource.kind})
    if short:
        return {"resourceId": resource.id, "changeType": "Deploy"}
    if before is None:
        return {"resourceId": resource.id, "changeType": "Create", "after": after}
    after = _sorted(_laid(before, after))
    delta = list(_delta(before, after, ""))
    shown = {"before": before, "after": after}
    if not delta:
        return {"resourceId": resource.id, "changeType": "NoChange", **shown}
    return {"resourceId": resource.id, "changeType": "Modify", **shown, "delta": delta}


async def _current(front: Front, call: Call, identifier: str, version: str) -> Body | None:
    reply = await front.send("GET", identifier, version, None, call.principal)
    if reply.status != 200 or not isinstance(reply.body, dict):
        return None
    shown: Body = _sorted({**_pruned(reply.body), "apiVersion": version})
    return shown


def _laid(before: Body, sent: Body) -> Body:
    """The resource as the write would leave it: with its own identity fields, and its location in
    the spelling of the existing resource.
    """
    own: Body = {name: before[name] for name in ("id", "name", "type") if name in before}
    result: Body = {**merged(before, sent), **own}
    if normal(str(before.get("location"))) == normal(str(result.get("location"))):
        result["location"] = before.get("location")
    return {name: value for name, value in result.items() if value is not None}


def _pruned(value: Any) -> Any:
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _pruned(item) for name, item in value.items() if name.lower() not in _READ_ONLY}
    return {name: item for name, item in kept.items() if item not in (None, {}, [])}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value, key=str.lower)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _delta(before: Any, after: Any, path: str) -> list[Body]:
    """The differing properties; an expression that only the deployment can evaluate is taken as no
    difference.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[Body] = []
        for name in dict.fromkeys((*before, *after)):
            key, other = member(before, name), member(after, name)
            below = f"{path}.{name}" if path else name
            if key is None:
                found += (
                    []
                    if after[other or name] in (None, {}, [])
                    else [_entry(below, "Create", None, after[other or name])]
                )
            elif other is None:
                found.append(_entry(below, "Delete", before[key], None))
            else:
                found += _delta(before[key], after[other], below)
        return found
    if same(before, after) or is_expression(after):
        return []
    if isinstance(before, list) and isinstance(after, list):
        children = [
            entry
            for place in range(max(len(before), len(after)))
            for entry in _element(before[place : place + 1], after[place : place + 1], str(place))
        ]
        return [{**_entry(path, "Array", None, None), "children": children}] if children else []
    return [_entry(path, "Modify", before, after)]


def _element(before: list[Any], after: list[Any], place: str) -> list[Body]:
    if not before:
        return [_entry(place, "Create", None, after[0])]
    if not after:
        return [_entry(place, "Delete", before[0], None)]
    inner = _delta(before[0], after[0], "")
    if inner and isinstance(before[0], dict):
        return [{**_entry(place, "Modify", None, None), "children": inner}]
    return [{**entry, "path": place} for entry in inner]


def _entry(path: str, kind: str, before: Any, after: Any) -> Body:
    shown = {
        name: value for name, value in (("before", before), ("after", after)) if value is not None
    }
    return {"path": path, "propertyChangeType": kind, **shown}


def _short(call: Call) -> bool:
    settings = call.document()["properties"].get("whatIfSettings") or {}
    return str(settings.get("resultFormat", "FullResourcePayloads")).lower() == "resourceidonly"
