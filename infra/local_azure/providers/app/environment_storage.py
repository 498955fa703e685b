"""Environment storages: the share an app may mount. Written at once; only the account key may ever
change.
"""

import re

from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import ArmError, bad_request, conflict
from infra.local_azure.arm.paging import page
from infra.local_azure.providers import tracked
from infra.local_azure.providers.tracked import Body
from infra.local_azure.store import Record

from . import environment_shape, managed_environment

TYPE = "Microsoft.App/managedEnvironments/storages"
KIND = TYPE.lower()
SHOWN_TYPE = "Microsoft.App/managedenvironments/storages"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FIELDS = ("accountName", "shareName", "accessMode")


def put(call: Call) -> Reply:
    environment = _environment(call)
    managed_environment.OPERATIONS.idle(call.azure, environment.key, environment.name)
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
    known = call.azure.store.get(call.target.key)
    if known is not None and wanted != known.body["azureFile"]:
        raise bad_request(
            "ManagedEnvironmentStorageUpdateBadRequest",
            "Only 'properties.azureFile.AccountKey' can be updated",
        )
    private: Body = {"key": sent["accountKey"]}
    if known is not None and (
        known.private["key"] != sent["accountKey"] or known.private.get("rekeyed")
    ):
        private["rekeyed"] = True
    record = Record(
        f"{environment.id}/storages/{call.target.name}", KIND, {"azureFile": wanted}, private
    )
    call.azure.store.put(record)
    call.azure.composition.changed()
    return Reply(200, _view(record))


def get(call: Call) -> Reply:
    _environment(call)
    record = call.azure.store.get(call.target.key)
    if record is None:
        text = f"ManagedEnvironment Storage '{call.target.name}' was not found."
        raise ArmError(404, "ManagedEnvironmentStorageNotFound", text)
    return Reply(200, _view(record))


def listing(call: Call) -> Reply:
    environment = _environment(call)
    return page(call, [_view(record) for record in call.azure.store.each(KIND, environment.id)])


def delete(call: Call) -> Reply:
    environment = _environment(call)
    record = call.azure.store.get(call.target.key)
    if record is None:
        return Reply(204)
    if any(record.name == name for name in call.azure.composition.storages_in_use(environment.key)):
        text = (
            f"Cannot delete Managed environment storage '{record.name}' because it's still in use."
        )
        raise conflict("ManagedEnvironmentStorageInUse", text)
    call.azure.store.delete(record.key)
    return Reply(200)


def _environment(call: Call) -> Record:
    parts = call.target.path.split("/")
    record = call.azure.store.get("/".join(parts[:9]))
    if record is None or record.kind != managed_environment.KIND:
        tracked.require_group(call)
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


ROUTES: dict[str, Handler] = {
    "put microsoft.app/managedenvironments/{}/storages/{}": put,
    "get microsoft.app/managedenvironments/{}/storages/{}": get,
    "delete microsoft.app/managedenvironments/{}/storages/{}": delete,
    "get microsoft.app/managedenvironments/{}/storages": listing,
}
