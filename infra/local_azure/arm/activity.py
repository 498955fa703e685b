"""The Activity Log: who wrote what, and how it ended. `front` notes every write and action,
`operations` the end of those that take a while; `providers.activity_log` shows the events.
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from infra.local_azure import clock
from infra.local_azure.login import Identity
from infra.local_azure.store import Store

from .call import Call
from .operations import Operation, Operations

KEPT_S = 90 * 86400
_VERBS = {"PUT": "write", "PATCH": "write", "DELETE": "delete"}
_PHRASES = {200: "OK", 201: "Created", 202: "Accepted", 204: "NoContent"}
Body = dict[str, Any]


class ActivityLog:
    """Events in the store, oldest first, for 90 days. The one caller is the login's client."""

    def __init__(self, store: Store, identity: Identity, operations: Operations) -> None:
        self._store = store
        self._identity = identity
        self._operations = operations
        operations.watch(self._ended)
        self._store.execute("delete from activity where at < ?", (clock.now() - KEPT_S,))

    def note(self, call: Call, status: int, code: str = "") -> None:
        """A write or an action was answered with `status`; `code` is the error's."""
        if call.method in {"GET", "HEAD"} or call.target.group is None:
            return
        event = self._event(call)
        running = self._operations.busy(event["resourceId"]) if not code else None
        told = "Failed" if code else "Accepted" if running else "Succeeded"
        self._keep(event, told, f"{code or _PHRASES.get(status, '')} (HTTP Status Code: {status})")
        if running:
            # The event of its end follows when it ends, even after a restart.
            self._store.execute(
                "insert or replace into activity_open values (?, ?)",
                (running.id, json.dumps(event)),
            )

    def events(self, since: float, until: float) -> Sequence[Body]:
        """The events of that time, newest first."""
        rows = self._store.execute(
            "select event from activity where at >= ? and at <= ? order by seq desc",
            (since, until),
        )
        return [json.loads(row[0]) for row in rows]

    def _ended(self, operation: Operation, status: str) -> None:
        rows = self._store.execute(
            "select event from activity_open where operation = ?", (operation.id,)
        )
        self._store.execute("delete from activity_open where operation = ?", (operation.id,))
        for row in rows:
            self._keep(json.loads(row[0]), status, "")

    def _keep(self, event: Body, status: str, sub_status: str) -> None:
        now, identifier = clock.now(), str(uuid.uuid4())
        stamp = clock.smb(int(now * 1e9))
        ticks = int(now * 1e7) + 621355968000000000  # .NET counts from the year 1
        whole = {
            **event,
            "eventDataId": identifier,
            "id": f"{event['resourceId']}/events/{identifier}/ticks/{ticks}",
            "eventName": _named("EndRequest", "End request"),
            "level": "Error" if status == "Failed" else "Informational",
            "status": _named(status),
            "subStatus": _named(sub_status),
            "eventTimestamp": stamp,
            "submissionTimestamp": stamp,
        }
        self._store.execute(
            "insert into activity (at, event) values (?, ?)", (now, json.dumps(whole))
        )

    def _event(self, call: Call) -> Body:
        """What all events of one request have in common."""
        target, identity = call.target, self._identity
        resource, kind, verb = _operation(call)
        correlation = call.headers.get("x-ms-correlation-request-id") or str(uuid.uuid4())
        asked = call.headers.get("x-ms-client-request-id")
        return {
            "authorization": {"action": f"{kind}/{verb}", "scope": resource},
            "caller": identity.client,
            "channels": "Operation",
            "claims": {
                "appid": identity.client,
                "http://schemas.microsoft.com/identity/claims/objectidentifier": identity.object,
                "http://schemas.microsoft.com/identity/claims/tenantid": identity.tenant,
            },
            "correlationId": correlation,
            "description": "",
            "category": _named("Administrative"),
            "httpRequest": {
                "clientRequestId": asked or str(uuid.uuid4()),
                "clientIpAddress": "127.0.0.1",
                "method": call.method,
            },
            "resourceGroupName": target.group,
            "resourceProviderName": _named(kind.split("/")[0]),
            "resourceId": resource,
            "resourceType": _named(kind),
            "operationId": correlation,
            "operationName": _named(f"{kind}/{verb}"),
            "properties": {},
            "subscriptionId": identity.subscription,
            "tenantId": identity.tenant,
        }


def _operation(call: Call) -> tuple[str, str, str]:
    """The id of the resource, its type, and what was done to it, as RBAC names it."""
    path = call.target.path
    _, _, rest = path.rpartition("/providers/")
    parts = rest.split("/") if "/providers/" in path else []
    if not parts:
        return path, "Microsoft.Resources/subscriptions/resourceGroups", _verb(call)
    types = parts[1::2]
    if call.method == "POST":
        kind = "/".join([parts[0], *types[:-1]]) if len(types) > 1 else parts[0]
        return path.rpartition("/")[0], kind, f"{types[-1]}/action" if types else "action"
    return path, "/".join([parts[0], *types]), _verb(call)


def _verb(call: Call) -> str:
    return _VERBS.get(call.method, "action")


def _named(value: str, shown: str | None = None) -> dict[str, str]:
    return {"value": value, "localizedValue": value if shown is None else shown}
