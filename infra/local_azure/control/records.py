"""Stored resources as ARM addresses them. A call finds one or is refused with the gateway's errors.
A write is stored together with the operation that finishes it. Used by all providers.
"""

import json
import uuid
from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm import ids
from infra.local_azure.arm.call import Call
from infra.local_azure.arm.errors import (
    bad_request,
    conflict,
    group_not_found,
    not_found,
    parent_not_found,
)
from infra.local_azure.arm.operations import Operation, Operations
from infra.local_azure.arm.reply import Reply
from infra.local_azure.login import Login
from infra.local_azure.store import Record, Store

GROUPS = "microsoft.resources/resourcegroups"
Body = dict[str, Any]


class Records:
    """`login` knows who writes, and the directory that managed identities live in. `shown` are the
    names of the types that a group's list shows, by their kind in the store.
    """

    def __init__(self, store: Store, login: Login, operations: Operations) -> None:
        self._store = store
        self._login = login
        self._operations = operations
        self.shown: dict[str, str] = {}

    def tracked(self, scope: str) -> list[Record]:
        """The resources below an id that the list of a group's resources shows, oldest first."""
        return [record for record in self._store.below(scope) if record.kind in self.shown]

    def group(self, call: Call) -> Record:
        """The resource group of this call; a write into one that is going away is refused."""
        group = self._store.get(call.target.group_id)
        if group is None:
            raise group_not_found(call.target.group or "")
        if group.body["properties"]["provisioningState"] == "Deleting" and call.method not in {
            "GET",
            "HEAD",
            "DELETE",
        }:
            text = (
                f"The resource group '{group.name}' is in deprovisioning state and cannot perform"
                " this operation."
            )
            raise conflict("ResourceGroupBeingDeleted", text)
        return group

    def find(self, call: Call, kind: str) -> Record:
        """The resource this call names, or the gateway's 404 (group first, as ARM looks)."""
        record = self._store.get(call.target.key)
        if record is None:
            self.group(call)
            raise not_found(kind, call.target.name, call.target.group or "")
        return record

    def acted_on(self, call: Call, kind: str) -> Record:
        """The top-level resource of an action or a list below it."""
        record = self._store.get(ids.resource_id(call.target.path))
        if record is None or record.kind != kind.lower():
            self.group(call)
            raise not_found(kind, call.target.names[0], call.target.group or "")
        return record

    def parent(self, call: Call, kind: str, depth: int = 1) -> Record:
        """The parent of a nested resource or of a collection: `depth` type/name pairs up.

        The gateway looks for the parent before the group.
        """
        parts = call.target.path.split("/")
        up = 2 * depth - (len(parts) % 2 == 0)  # a collection's path lacks the last name
        key = "/".join(parts[:-up])
        record = self._store.get(key)
        if record is None or record.kind != kind.lower():
            raise parent_not_found(key.rsplit("/", 1)[-1])
        return record

    def scope(self, call: Call) -> str:
        """Where a list looks: the group, or the whole subscription."""
        if call.target.group is None:
            return ""
        self.group(call)
        return call.target.group_id

    def new_id(self, call: Call, kind: str) -> str:
        """A resource's id with the group's own spelling and the type's."""
        group = self.group(call)
        return f"{group.id}/providers/{kind}/{call.target.name}"

    def delete(self, call: Call) -> Reply:
        """Delete a resource that is gone at once; one that is not there is no error."""
        there = self._store.get(call.target.key) is not None
        self._store.delete(call.target.key)
        return Reply(200 if there else 204)

    def managed_identity(self, body: Body, owner: str) -> Body:
        """The managed identities of a resource: system-assigned and user-assigned, with the ids
        that the directory gave them.
        """
        sent = body.get("identity") or {}
        # Azure takes both kinds in one text: `SystemAssigned, UserAssigned`.
        kinds = [part.strip() for part in str(sent.get("type") or "None").split(",")]
        spelled = {
            "none": "None",
            "systemassigned": "SystemAssigned",
            "userassigned": "UserAssigned",
        }
        if wrong := [kind for kind in kinds if kind.lower() not in spelled]:
            raise bad_request("InvalidIdentityType", f"The identity type '{wrong[0]}' is invalid.")
        shown: Body = {"type": ", ".join(spelled[kind.lower()] for kind in kinds)}
        if "SystemAssigned" in shown["type"]:
            shown |= {
                "principalId": directory_id(owner, "principal"),
                "tenantId": self._login.identity.tenant,
            }
        if "UserAssigned" in shown["type"]:
            users = [_identity_id(str(key)) for key in sent.get("userAssignedIdentities") or {}]
            if not users:
                text = (
                    "The identity type 'UserAssigned' requires the 'userAssignedIdentities'"
                    " property to be specified."
                )
                raise bad_request("InvalidIdentityValues", text)
            shown["userAssignedIdentities"] = {
                user: {
                    "principalId": directory_id(user, "principal"),
                    "clientId": directory_id(user, "client"),
                }
                for user in users
            }
        return shown

    def require_identities(self, shown: Body, owner: str, before: Body | None = None) -> None:
        """Refuse user-assigned identities that do not exist and were not assigned `before`. ARM
        itself does so for every type: the message quotes the answer of the identities' provider.
        """
        assigned = {user.lower() for user in (before or {}).get("userAssignedIdentities") or {}}
        # What other subscriptions have is unknown here, so their identities count as existing.
        own = f"/subscriptions/{self._login.identity.subscription}/".lower()
        for user in shown.get("userAssignedIdentities") or {}:
            known = not user.lower().startswith(own) or user.lower() in assigned
            if not known and self._store.get(user.lower()) is None:
                said = {"code": "BadRequest", "message": f"Resource '{user}' was not found."}
                text = (
                    f"Identity operation for resource '{owner}' failed with error 'Failed to"
                    " perform resource identity operation. Status: 'BadRequest'. Response:"
                    f" '{json.dumps({'error': said}, separators=(',', ':'))}'.'."
                )
                raise bad_request("FailedIdentityOperation", text)

    def stamp(self, previous: Body | None) -> Body:
        """SystemData after a write: the creator stays, and the last modification is this write."""
        author, instant = self._login.identity.client, clock.ticks()
        change = {
            "lastModifiedBy": author,
            "lastModifiedByType": "Application",
            "lastModifiedAt": instant,
        }
        created = {"createdBy": author, "createdByType": "Application", "createdAt": instant}
        kept = {key: value for key, value in (previous or {}).items() if key.startswith("created")}
        return {**created, **kept, **change}

    def access_token(self, call: Call, kind: str) -> Reply:
        """The answer to getAuthToken: a short-lived token for the log streams of one resource of
        Microsoft.App.
        """
        record = self.acted_on(call, kind)
        token, lifetime = self._login.issue("containerapps", call.base, app=record.key)
        shown = {"token": token, "expires": clock.zulu(clock.now() + lifetime)}
        named = {"id": record.id, "name": record.name, "type": f"{kind}/accesstoken"}
        return Reply(200, {"location": record.body["location"], "properties": shown, **named})

    def succeed(self, operation: Operation) -> None:
        """The finisher of an operation that only marks its resource Succeeded."""
        record = self._store.get(operation.resource)
        if record is not None:
            record.body["properties"]["provisioningState"] = "Succeeded"
            self._store.put(record)

    def write(
        self,
        record: Record,
        finish: str,
        *,
        factor: float = 1.0,
        argument: Body | None = None,
    ) -> Operation:
        """Store a resource that is in progress and begin the operation that finishes it, both or
        neither.
        """
        with self._store.transaction():
            self._store.put(record)
            return self._operations.begin(record.key, finish, factor=factor, argument=argument)


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


def directory_id(owner: str, role: str) -> str:
    """An id that depends on the identity and its role alone, as a directory's ids do."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{owner.lower()}#{role}"))
