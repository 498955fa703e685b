"""Environment storages: the share an app may mount. Written at once; only the account key may ever
change.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.body_types import TEXT
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError, bad_request, conflict
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.changes import Changes
from infra.local_azure.control.apps import AppControl
from infra.local_azure.control.naming import ENVIRONMENT, STORAGE
from infra.local_azure.control.records import Body, Records
from infra.local_azure.control.writes import Writes
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

from . import environment_shape, managed_environment

TYPE = "Microsoft.App/managedEnvironments/storages"
SHOWN_TYPE = "Microsoft.App/managedenvironments/storages"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FIELDS = ("accountName", "shareName", "accessMode")


@dataclass(frozen=True)
class EnvironmentStorages(Provider):
    """Storages of kind azureFile."""

    store: Store
    records: Records
    writes: Writes
    apps: AppControl
    changes: Changes

    shapes: ClassVar[Mapping[str, Any]] = {
        "microsoft.app/managedenvironments/{}/storages/{}": {
            "properties": {"azureFile": dict.fromkeys((*_FIELDS, "accountKey"), TEXT)}
        }
    }

    def routes(self) -> Routes:
        return {
            "put microsoft.app/managedenvironments/{}/storages/{}": self.put,
            "get microsoft.app/managedenvironments/{}/storages/{}": self.get,
            "delete microsoft.app/managedenvironments/{}/storages/{}": self.delete,
            "get microsoft.app/managedenvironments/{}/storages": self.listing,
        }

    def put(self, call: Call) -> Reply:
        environment = self._environment(call)
        self.writes.check_idle(managed_environment.WORDING, environment.key, environment.name)
        if environment.body["properties"]["provisioningState"] != "Succeeded":
            text = (
                f"The environment '{environment.name}' is not provisioned:"
                f" {environment.body['properties']['provisioningState']}."
            )
            raise conflict("ManagedEnvironmentNotProvisioned", text)
        sent = (call.document().get("properties") or {}).get("azureFile")
        if not sent:
            raise ArmError(
                501,
                "NotImplemented",
                "The local Azure implements environment storages of kind azureFile only.",
            )
        if not _NAME.fullmatch(call.target.name.lower()):
            raise bad_request(
                "ManagedEnvironmentStorageInvalidName",
                f"The storage name '{call.target.name}' is invalid.",
            )
        wanted = _checked(sent)
        known = self.store.get(call.target.key)
        # Azure changes only the key of an existing storage.
        if known is not None and wanted != known.body["azureFile"]:
            raise bad_request(
                "ManagedEnvironmentStorageUpdateBadRequest",
                "Only 'properties.azureFile.AccountKey' can be updated",
            )
        private: Body = {"key": sent["accountKey"]}
        # The scripted fault `stale-keys` refuses mounts of storages that were given another key.
        if known is not None and (
            known.private["key"] != sent["accountKey"] or known.private.get("rekeyed")
        ):
            private["rekeyed"] = True
        record = Record(
            f"{environment.id}/storages/{call.target.name}", STORAGE, {"azureFile": wanted}, private
        )
        self.store.put(record)
        self.changes.notify()
        return Reply(200, _view(record))

    def get(self, call: Call) -> Reply:
        self._environment(call)
        record = self.store.get(call.target.key)
        if record is None:
            text = f"ManagedEnvironment Storage '{call.target.name}' was not found."
            raise ArmError(404, "ManagedEnvironmentStorageNotFound", text)
        return Reply(200, _view(record))

    def listing(self, call: Call) -> Reply:
        environment = self._environment(call)
        return listed([_view(record) for record in self.store.each(STORAGE, environment.id)])

    def delete(self, call: Call) -> Reply:
        environment = self._environment(call)
        record = self.store.get(call.target.key)
        if record is None:
            return Reply(204)
        if any(record.name == name for name in self.apps.storages_in_use(environment.key)):
            text = (
                f"Cannot delete Managed environment storage '{record.name}' because it's still in"
                " use."
            )
            raise conflict("ManagedEnvironmentStorageInUse", text)
        self.store.delete(record.key)
        return Reply(200)

    def _environment(self, call: Call) -> Record:
        parts = call.target.path.split("/")
        record = self.store.get("/".join(parts[:9]))
        if record is None or record.kind != ENVIRONMENT:
            self.records.group(call)
            raise ArmError(
                404, "ResourceNotFound", _missing(call), headers={"x-ms-failure-cause": "gateway"}
            )
        return record


def _missing(call: Call) -> str:
    resource = f"{environment_shape.TYPE}/{call.target.names[0]}"
    return (
        f"The Resource '{resource}' under resource group '{call.target.group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    )


def _checked(sent: Body) -> Body:
    for field in (*_FIELDS, "accountKey"):
        if not isinstance(sent.get(field), str) or not sent[field]:
            raise bad_request(
                "InvalidParameterValue",
                f"The value of 'properties.azureFile.{field}' must be given.",
            )
    if sent["accessMode"].lower() not in {"readonly", "readwrite"}:
        raise bad_request(
            "InvalidParameterValue", f"The access mode '{sent['accessMode']}' is invalid."
        )
    mode = "ReadOnly" if sent["accessMode"].lower() == "readonly" else "ReadWrite"
    return {"accountName": sent["accountName"], "shareName": sent["shareName"], "accessMode": mode}


def _view(record: Record) -> Body:
    return {
        "id": record.id,
        "name": record.name,
        "type": SHOWN_TYPE,
        "properties": {"azureFile": record.body["azureFile"]},
    }
