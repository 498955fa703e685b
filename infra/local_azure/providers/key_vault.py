"""Microsoft.KeyVault/vaults, which access policies open or roles (`enableRbacAuthorization`)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.body_types import ANY, COMMON, TEXT
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import bad_request, conflict
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.control import tracked
from infra.local_azure.control.records import Body, Records
from infra.local_azure.control.vaults import KIND, TYPE, Vaults
from infra.local_azure.login import Login
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

_NAME = re.compile(r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
_PROPERTIES: Any = {
    "tenantId": TEXT,
    "sku": {"family": TEXT, "name": TEXT},
    "accessPolicies": [{"*": ANY}],
    "*": ANY,
}


@dataclass(frozen=True)
class KeyVaults(Provider):
    """Vaults exist at once when they are created; a deleted one leaves nothing."""

    store: Store
    records: Records
    login: Login
    vaults: Vaults

    shapes: ClassVar[Mapping[str, Any]] = {f"{KIND}/{{}}": {**COMMON, "properties": _PROPERTIES}}
    shown: ClassVar[Mapping[str, str]] = {KIND: TYPE}

    def routes(self) -> Routes:
        return {
            f"put {KIND}/{{}}": self.put,
            f"get {KIND}/{{}}": self.get,
            f"delete {KIND}/{{}}": self.delete,
            f"get {KIND}": self.listing,
        }

    def put(self, call: Call) -> Reply:
        body, name = call.document(), call.target.name
        id_, known = self.records.new_id(call, TYPE), self.store.get(call.target.key)
        if not _NAME.fullmatch(name):
            raise bad_request("VaultNameNotValid", f"The vault name '{name}' is invalid.")
        if known is None and self.vaults.called(name) is not None:
            text = f"The vault name '{name}' is already in use. Vault names are globally unique."
            raise conflict("VaultAlreadyExists", text)
        sent = body.get("properties") or {}
        if not isinstance(sent.get("sku"), dict) or not sent.get("tenantId"):
            text = "The properties 'tenantId' and 'sku' are required."
            raise bad_request("BadRequest", text)
        record = known or Record(id_, KIND, {})
        record.body.update(
            location=tracked.location(body, known, TYPE),
            tags=tracked.tags(body) or {},
            properties={
                "enableRbacAuthorization": False,
                "enableSoftDelete": False,
                **sent,
                "accessPolicies": list(sent.get("accessPolicies") or []),
            },
        )
        self.store.put(record)
        return Reply(200 if known else 201, self._view(call, record))

    def get(self, call: Call) -> Reply:
        return Reply(200, self._view(call, self.records.find(call, TYPE)))

    def delete(self, call: Call) -> Reply:
        self.records.group(call)
        return self.records.delete(call)

    def listing(self, call: Call) -> Reply:
        found = self.store.each(KIND, self.records.scope(call))
        return listed([self._view(call, record) for record in found])

    def _view(self, call: Call, record: Record) -> Body:
        port = call.base.rpartition(":")[2]
        address = f"https://{record.name.lower()}.vault.localhost:{port}/"
        shown = {**record.body["properties"], "vaultUri": address, "provisioningState": "Succeeded"}
        return {
            **record.body,
            "id": record.id,
            "name": record.name,
            "type": TYPE,
            "properties": shown,
        }
