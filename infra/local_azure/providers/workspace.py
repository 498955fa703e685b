"""Log Analytics workspaces with their shared keys, soft delete and recovery."""

import base64
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from infra.local_azure import clock
from infra.local_azure.arm.body_types import ANY, COMMON, NUMBER, TEXT, WHOLE, known_fields
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import bad_request, not_found
from infra.local_azure.arm.operations import Finisher, Operation, Operations
from infra.local_azure.arm.polling import Polling, address
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.control import tracked
from infra.local_azure.control.records import Body, Records
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

TYPE = "Microsoft.OperationalInsights/workspaces"
KIND = TYPE.lower()
DELETED = "microsoft.operationalinsights/deletedworkspaces"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]")
_ONE = "microsoft.operationalinsights/workspaces/{}"
_KEPT_S = 14 * 86400
_SKUS = {
    "pergb2018": "PerGB2018",
    "standalone": "PerGB2018",
    "free": "Free",
    "capacityreservation": "CapacityReservation",
}
# What a field is where neither this write nor an earlier one has set it.
_DEFAULTS: Body = {
    "retentionInDays": 30,
    "publicNetworkAccessForIngestion": "Enabled",
    "publicNetworkAccessForQuery": "Enabled",
}
_FEATURES: Body = {
    "legacy": 0,
    "searchVersion": 1,
    "enableLogAccessUsingOnlyResourcePermissions": True,
}
_SKU: Any = {"name": TEXT, "capacityReservationLevel": WHOLE}
_WORKSPACE: Any = {
    **COMMON,
    "etag": TEXT,
    "properties": {
        "sku": _SKU,
        "retentionInDays": WHOLE,
        "workspaceCapping": {"dailyQuotaGb": NUMBER},
        "features": {"*": ANY},
        "publicNetworkAccessForIngestion": TEXT,
        "publicNetworkAccessForQuery": TEXT,
    },
}


@dataclass(frozen=True)
class Workspaces(Provider):
    """Workspaces; a deleted one can be restored for 14 days."""

    store: Store
    records: Records
    operations: Operations
    polling: Polling

    shapes: ClassVar[Mapping[str, Any]] = {
        "microsoft.operationalinsights/workspaces/{}": _WORKSPACE
    }
    shown: ClassVar[Mapping[str, str]] = {KIND: TYPE}

    def routes(self) -> Routes:
        return {
            "put microsoft.operationalinsights/workspaces/{}": self.put,
            "get microsoft.operationalinsights/workspaces/{}": self.get,
            "patch microsoft.operationalinsights/workspaces/{}": self.patch,
            "delete microsoft.operationalinsights/workspaces/{}": self.delete,
            "get microsoft.operationalinsights/workspaces": self.listing,
            "post microsoft.operationalinsights/workspaces/{}/sharedkeys": self.shared_keys,
            "post microsoft.operationalinsights/workspaces/{}/listkeys": self.shared_keys,
            "post microsoft.operationalinsights/workspaces/{}/regeneratesharedkey": self.regenerate,
            "get microsoft.operationalinsights/workspaces/{}/usages": self.usages,
            f"get {_ONE}/managementgroups": self.management_groups,
            "get microsoft.operationalinsights/deletedworkspaces": self.deleted_ones,
            "get microsoft.operationalinsights/locations/{}/operationstatuses/{}": self.status,
            f"get {_ONE}/operationresults/{{}}": self.result,
        }

    def finishers(self) -> Mapping[str, Finisher]:
        return {"workspace.created": self.created, "workspace.deleted": deleted}

    def put(self, call: Call) -> Reply:
        """A new workspace is `Creating` for a while, and clients poll its own address. A deleted
        one is restored with its settings.
        """
        body = call.document()
        self.records.group(call)
        if not _NAME.fullmatch(call.target.name):
            raise bad_request(
                "InvalidResourceName", f"The workspace name '{call.target.name}' is not valid."
            )
        known = self.store.get(call.target.key)
        restored = None if known else self.store.get(_deleted_id(call.target.path))
        place = tracked.location(body, known or restored, TYPE)
        record = known or restored or Record(self.records.new_id(call, TYPE), KIND, {}, _keys())
        if restored:
            record = Record(self.records.new_id(call, TYPE), KIND, restored.body, restored.private)
        with self.store.transaction():
            record.body = _shape(body, record.body, place)
            if not known and not restored:
                record.body["properties"]["provisioningState"] = "Creating"
                self.operations.begin(record.key, "workspace.created")
            if restored:
                self.store.delete(restored.key)
            self.store.put(record)
        if known or restored:
            return Reply(200, _view(record))
        where = f"{call.base}{record.id}?api-version={call.version}"
        # Azure names no operation here: a client polls the workspace until it is there.
        return Reply(201, _view(record), {"Location": where, **self.polling.waiting(call)})

    def created(self, operation: Operation) -> None:
        record = self.store.get(operation.resource)
        if record is not None:
            record.body["properties"].update(
                provisioningState="Succeeded", modifiedDate=clock.zulu()
            )
            record.body["etag"] = _etag()
            self.store.put(record)

    def get(self, call: Call) -> Reply:
        record = self.records.find(call, TYPE)
        creating = record.body["properties"]["provisioningState"] == "Creating"
        return Reply(200, _view(record), self.polling.waiting(call) if creating else {})

    def patch(self, call: Call) -> Reply:
        record = self.records.find(call, TYPE)
        record.body = _shape(
            {**call.document(), "location": None}, record.body, record.body["location"]
        )
        self.store.put(record)
        return Reply(200, _view(record))

    def listing(self, call: Call) -> Reply:
        return listed([_view(record) for record in self.store.each(KIND, self.records.scope(call))])

    def delete(self, call: Call) -> Reply:
        """Delete at once in older api-versions, an operation from 2025-07-01 on. Without
        `force` the workspace can be restored.
        """
        self.records.group(call)
        record = self.store.get(call.target.key)
        if record is None:
            return Reply(204)
        with self.store.transaction():
            self.store.delete(record.key)
            # Kept, because a PUT of the same name brings the workspace back with its settings.
            if call.query.get("force", "").lower() != "true":
                self.store.put(
                    Record(
                        _deleted_id(record.id),
                        DELETED,
                        record.body,
                        {**record.private, "deleted": clock.now()},
                    )
                )
            if call.version < "2025-07-01":
                return Reply(200)
            running = self.operations.begin(record.key, "workspace.deleted")
        status = address(
            call,
            "Microsoft.OperationalInsights",
            record.body["location"],
            "operationstatuses",
            running,
            status=False,
        )
        where = f"{call.base}{record.id}/operationresults/{running.id}?api-version={call.version}"
        return Reply(
            202,
            None,
            {"Azure-AsyncOperation": status, "Location": where, **self.polling.waiting(call)},
        )

    def status(self, call: Call) -> Reply:
        running = self._operation(call)
        body: Body = {
            "id": call.target.path,
            "name": running.id,
            "status": running.status,
            "startTime": clock.zulu(running.started),
        }
        if running.done:
            return Reply(200, {**body, "endTime": clock.zulu(running.due), "properties": {}})
        return Reply(200, body, self.polling.waiting(call))

    def result(self, call: Call) -> Reply:
        running = self._operation(call)
        return Reply(200) if running.done else self.polling.again(call)

    def shared_keys(self, call: Call) -> Reply:
        record = self.records.acted_on(call, TYPE)
        return Reply(
            200,
            {
                "primarySharedKey": record.private["primary"],
                "secondarySharedKey": record.private["secondary"],
            },
        )

    def regenerate(self, call: Call) -> Reply:
        """Regenerates both keys. Azure then refuses logs sent with the old ones."""
        record = self.records.acted_on(call, TYPE)
        record.private |= _keys()
        self.store.put(record)
        return self.shared_keys(call)

    def usages(self, call: Call) -> Reply:
        properties = self.records.acted_on(call, TYPE).body["properties"]
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

    def management_groups(self, call: Call) -> Reply:
        """The management groups of Operations Manager; there are none."""
        self.records.acted_on(call, TYPE)
        return Reply(200, {"value": []})

    def deleted_ones(self, call: Call) -> Reply:
        """The deleted workspaces that a creation restores."""
        kept = []
        for record in self.store.each(DELETED, self.records.scope(call)):
            if clock.now() - record.private.get("deleted", clock.now()) > _KEPT_S:
                self.store.delete(record.key)
                continue
            shown = {
                **record.body,
                "properties": {**record.body["properties"], "provisioningState": "Succeeded"},
            }
            identifier = record.id.replace("/deletedWorkspaces/", "/workspaces/")
            kept.append({**shown, "id": identifier, "name": record.name, "type": TYPE})
        return listed(kept)

    def _operation(self, call: Call) -> Operation:
        running = self.operations.get(call.target.name)
        if running is None:
            raise not_found(
                "Microsoft.OperationalInsights/locations/operationstatuses",
                call.target.name,
                call.target.group or "",
            )
        return running


def deleted(_operation: Operation) -> None:
    """Nothing to do: the workspace was deleted when the request was accepted."""


def _shape(body: Body, before: Body, place: str) -> Body:
    """The stored workspace after a write: the sent fields, else the stored ones, else Azure's
    defaults.
    """
    now, sent, old = clock.zulu(), body.get("properties") or {}, before.get("properties") or {}
    cap = (sent.get("workspaceCapping") or {}).get(
        "dailyQuotaGb", (old.get("workspaceCapping") or {}).get("dailyQuotaGb", -1.0)
    )
    state = old.get("provisioningState")  # an accepted write turns a Failed one into Succeeded
    properties: Body = {
        "customerId": old.get("customerId") or str(uuid.uuid4()),
        "provisioningState": state if state == "Creating" else "Succeeded",
        "sku": _sku(sent, old, now),
        **{name: sent.get(name) or old.get(name) or usual for name, usual in _DEFAULTS.items()},
        "features": {**_FEATURES, **(old.get("features") or {}), **(sent.get("features") or {})},
        "workspaceCapping": {
            "dailyQuotaGb": cap,
            "quotaNextResetTime": _reset(place),
            "dataIngestionStatus": "RespectQuota",
        },
        "createdDate": old.get("createdDate") or now,
        "modifiedDate": now,
    }
    days = properties["retentionInDays"]
    if not isinstance(days, int) or not (4 <= days <= 730):
        raise bad_request(
            "InvalidParameter",
            f"'RetentionInDays' property doesn't match the SKU limits. Value '{days}' is not"
            " valid.",
        )
    shaped: Body = {"properties": properties, "location": place, "etag": _etag()}
    kept = before.get("tags") if body.get("tags") is None else tracked.tags(body) or {}
    return shaped if kept is None else {**shaped, "tags": kept}


def _sku(sent: Body, old: Body, now: str) -> Body:
    sku: Body = known_fields(_SKU, sent.get("sku") or old.get("sku") or {})
    sku["name"] = _SKUS.get(str(sku.get("name", "")).lower(), sku.get("name", "PerGB2018"))
    sku["lastSkuUpdate"] = old["sku"]["lastSkuUpdate"] if old.get("sku") else now
    return sku


def _reset(place: str) -> str:
    """The daily cap starts again at an hour that depends on the region."""
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
