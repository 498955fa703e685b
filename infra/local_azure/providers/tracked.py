"""What every located resource shares: its group, region, tags and systemData. Used by all
providers.
"""

import uuid
from typing import TYPE_CHECKING, Any

from infra.local_azure import clock, regions
from infra.local_azure.arm.call import Call, Reply
from infra.local_azure.arm.errors import (
    bad_request,
    conflict,
    group_not_found,
    not_found,
    parent_not_found,
)
from infra.local_azure.arm.operations import Operation
from infra.local_azure.store import Record

if TYPE_CHECKING:
    from infra.local_azure.azure import Azure

GROUPS = "microsoft.resources/resourcegroups"
Body = dict[str, Any]


def require_group(call: Call) -> Record:
    """The resource group of this call; a write into one that is going away is refused."""
    group = call.azure.store.get(call.target.group_id)
    if group is None:
        raise group_not_found(call.target.group or "")
    if group.body["properties"]["provisioningState"] == "Deleting" and call.method not in {
        "GET",
        "HEAD",
        "DELETE",
    }:
        text = (
            f"The resource group '{group.name}' is in deprovisioning state and cannot perform this"
            " operation."
        )
        raise conflict("ResourceGroupBeingDeleted", text)
    return group


def find(call: Call, kind: str) -> Record:
    """The resource this call names, or the gateway's 404 (group first, as ARM looks)."""
    record = call.azure.store.get(call.target.key)
    if record is None:
        require_group(call)
        raise not_found(kind, call.target.name, call.target.group or "")
    return record


def acted_on(call: Call, kind: str) -> Record:
    """The resource of `…/{name}/<action>` and of `…/{name}/<list>`."""
    record = call.azure.store.get(call.target.path.rsplit("/", 1)[0])
    if record is None or record.kind != kind.lower():
        require_group(call)
        raise not_found(kind, call.target.names[0], call.target.group or "")
    return record


def parent(call: Call, kind: str, depth: int = 1) -> Record:
    """The resource that a nested one, or a collection of them, hangs on: `depth` type/name pairs
    up.

    The gateway asks for the parent before the group.
    """
    parts = call.target.path.split("/")
    up = 2 * depth - (len(parts) % 2 == 0)  # a collection's path lacks the last name
    key = "/".join(parts[:-up])
    record = call.azure.store.get(key)
    if record is None or record.kind != kind.lower():
        raise parent_not_found(key.rsplit("/", 1)[-1])
    return record


def scope(call: Call) -> str:
    """Where a list looks: the group, or the whole subscription."""
    if call.target.group is None:
        return ""
    require_group(call)
    return call.target.group_id


def new_id(call: Call, kind: str) -> str:
    """A resource's id with the group's own spelling and the type's."""
    group = require_group(call)
    return f"{group.id}/providers/{kind}/{call.target.name}"


def location(body: Body, record: Record | None, kind: str) -> str:
    """The region in normal form: required, known, and the same for ever."""
    sent = body.get("location")
    if not sent:
        if record is not None:
            return str(regions.normal(record.body["location"]))
        raise bad_request(
            "LocationRequired", "The location property is required for this definition."
        )
    wanted = regions.normal(str(sent))
    if record is not None and wanted != regions.normal(record.body["location"]):
        there = regions.normal(record.body["location"])
        text = (
            f"The resource '{record.name}' already exists in location '{there}' in resource group"
            f" '{record.group}'. A resource with the same name cannot be created in location"
            f" '{wanted}'. Please select a new resource name."
        )
        raise conflict("InvalidResourceLocation", text)
    if wanted not in regions.REGIONS:
        text = f"The provided location '{sent}' is not available for resource type '{kind}'."
        raise bad_request("LocationNotAvailableForResourceType", text)
    return wanted


def tags(body: Body) -> dict[str, str] | None:
    """The tags of a body, or None when there are none; ARM's limits hold."""
    sent = body.get("tags")
    if not sent:
        return None
    if not isinstance(sent, dict) or any(not isinstance(value, str) for value in sent.values()):
        raise bad_request(
            "InvalidRequestContent", "The tags of a resource must be an object of strings."
        )
    if len(sent) > 50:
        text = (
            f"Number of tags on the resource is '{len(sent)}', which exceeds the maximum of '50'."
        )
        raise bad_request("InvalidTagsCount", text)
    for name, value in sent.items():
        if len(name) > 512 or len(value) > 256 or any(mark in name for mark in "<>%&\\?/"):
            raise bad_request(
                "InvalidTagNameCharacters", f"The tag '{name}' has an invalid name or value."
            )
    return dict(sent)


def failure(record: Record) -> Body:
    """Why the last operation on it did not work; shown while it is Failed."""
    text = record.private.get("deploymentErrors")
    failed = record.body["properties"]["provisioningState"] in {"Failed", "Canceled"}
    return {"deploymentErrors": text} if text and failed else {}


def identity(call: Call, body: Body, owner: str) -> Body:
    """The managed identities of a resource: one of its own and any of the user's, with the ids that
    the directory gave them.
    """
    sent = body.get("identity") or {}
    kinds = [part.strip() for part in str(sent.get("type") or "None").split(",")]
    spelled = {"none": "None", "systemassigned": "SystemAssigned", "userassigned": "UserAssigned"}
    if wrong := [kind for kind in kinds if kind.lower() not in spelled]:
        raise bad_request("InvalidIdentityType", f"The identity type '{wrong[0]}' is invalid.")
    shown: Body = {"type": ", ".join(spelled[kind.lower()] for kind in kinds)}
    if "SystemAssigned" in shown["type"]:
        shown |= {
            "principalId": _directory_id(owner, "principal"),
            "tenantId": call.azure.login.identity.tenant,
        }
    if "UserAssigned" in shown["type"]:
        users = [_identity_id(str(key)) for key in sent.get("userAssignedIdentities") or {}]
        if not users:
            text = (
                "The identity type 'UserAssigned' requires the 'userAssignedIdentities' property to"
                " be specified."
            )
            raise bad_request("InvalidIdentityValues", text)
        shown["userAssignedIdentities"] = {
            user: {
                "principalId": _directory_id(user, "principal"),
                "clientId": _directory_id(user, "client"),
            }
            for user in users
        }
    return shown


def _identity_id(text: str) -> str:
    """Resource providers write an identity's id with `resourcegroups` and the type in its own
    spelling.
    """
    parts = text.split("/")
    if len(parts) != 9:
        raise bad_request(
            "LinkedInvalidPropertyId",
            f"Property id '{text}' at path 'identity.userAssignedIdentities' is invalid.",
        )
    kept = (
        parts[2],
        "resourcegroups",
        parts[4],
        "providers",
        "Microsoft.ManagedIdentity",
        "userAssignedIdentities",
        parts[8],
    )
    return "/".join(("", "subscriptions", *kept))


def _directory_id(owner: str, role: str) -> str:
    """The same for the same identity for ever, as a directory's ids are."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{owner.lower()}#{role}"))


def stamp(call: Call, previous: Body | None) -> Body:
    """SystemData after a write: the creator stays, the modification moves."""
    author, instant = call.azure.login.identity.client, clock.ticks()
    change = {
        "lastModifiedBy": author,
        "lastModifiedByType": "Application",
        "lastModifiedAt": instant,
    }
    created = {"createdBy": author, "createdByType": "Application", "createdAt": instant}
    kept = {key: value for key, value in (previous or {}).items() if key.startswith("created")}
    return {**created, **kept, **change}


def access_token(call: Call, kind: str) -> Reply:
    """The answer to getAuthToken: a short-lived token for the log streams of one resource of
    Microsoft.App.
    """
    record = acted_on(call, kind)
    token, lifetime = call.azure.login.issue("containerapps", call.base, app=record.key)
    shown = {"token": token, "expires": clock.zulu(clock.now() + lifetime)}
    named = {"id": record.id, "name": record.name, "type": f"{kind}/accesstoken"}
    return Reply(200, {"location": record.body["location"], "properties": shown, **named})


def write(
    azure: "Azure",
    record: Record,
    finish: str,
    *,
    factor: float = 1.0,
    argument: Body | None = None,
) -> Operation:
    """Store a resource that is in progress and begin the operation that finishes it, both or
    neither.
    """
    with azure.store.transaction():
        azure.store.put(record)
        return azure.operations.begin(record.key, finish, factor=factor, argument=argument)
