"""User-assigned managed identities: known by name to the resources that run as them. They sign
nobody in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.body_types import COMMON
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.control import tracked
from infra.local_azure.control.records import Body, Records, directory_id
from infra.local_azure.login import Login
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
KIND = TYPE.lower()


@dataclass(frozen=True)
class ManagedIdentities(Provider):
    """Identities exist at once when they are created."""

    store: Store
    records: Records
    login: Login

    shapes: ClassVar[Mapping[str, Any]] = {f"{KIND}/{{}}": COMMON}
    shown: ClassVar[Mapping[str, str]] = {KIND: TYPE}

    def routes(self) -> Routes:
        return {
            f"put {KIND}/{{}}": self.put,
            f"get {KIND}/{{}}": self.get,
            f"patch {KIND}/{{}}": self.patch,
            f"delete {KIND}/{{}}": self.delete,
            f"get {KIND}": self.listing,
        }

    def put(self, call: Call) -> Reply:
        body = call.document()
        group, known = self.records.group(call), self.store.get(call.target.key)
        place = tracked.location(body, known, TYPE)
        # Its provider writes `resourcegroups` in lower case.
        scope = group.id.replace("/resourceGroups/", "/resourcegroups/")
        record = known or Record(f"{scope}/providers/{TYPE}/{call.target.name}", KIND, {})
        record.body.update(location=place, tags=tracked.tags(body) or {})
        self.store.put(record)
        shown = self._view(record)
        return Reply(200, shown) if known else Reply(201, shown, {"Location": record.id})

    def get(self, call: Call) -> Reply:
        return Reply(200, self._view(self.records.find(call, TYPE)))

    def patch(self, call: Call) -> Reply:
        record = self.records.find(call, TYPE)
        body = call.document()
        if body.get("tags") is not None:
            record.body["tags"] = tracked.tags(body) or {}
            self.store.put(record)
        return Reply(200, self._view(record))

    def delete(self, call: Call) -> Reply:
        self.records.group(call)
        return self.records.delete(call)

    def listing(self, call: Call) -> Reply:
        found = self.store.each(KIND, self.records.scope(call))
        return listed([self._view(record) for record in found])

    def _view(self, record: Record) -> Body:
        return {
            **record.body,
            "id": record.id,
            "name": record.name,
            "type": TYPE,
            "properties": {
                "tenantId": self.login.identity.tenant,
                "principalId": directory_id(record.id, "principal"),
                "clientId": directory_id(record.id, "client"),
            },
        }
