"""Storage accounts: creation as an operation, keys, name availability. Their shares are in
`file_share`.
"""

import base64
import re
import secrets

from infra.local_azure import clock
from infra.local_azure.arm import operations
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import ArmError, bad_request, conflict, not_found
from infra.local_azure.arm.operations import Operation
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.files import tree
from infra.local_azure.providers import tracked
from infra.local_azure.providers.tracked import Body
from infra.local_azure.store import Record

from . import account_shape
from .account_shape import TYPE

KIND = TYPE.lower()
_NAME = re.compile(r"[a-z0-9]{3,24}")


def put(call: Call) -> Reply:
    """A new account takes a while and answers 202 with nothing; an existing one is
    updated at once.
    """
    azure, body, name = call.azure, call.document(), call.target.name
    tracked.require_group(call)
    known = azure.store.get(call.target.key)
    place = tracked.location(body, known, TYPE)
    if known is not None:
        return _update(call, known, body, place)
    if not _NAME.fullmatch(name):
        raise bad_request("AccountNameInvalid", _name_text(name))
    if _taken(azure, name):
        raise conflict(
            "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken."
        )
    sku, kind = (body.get("sku") or {}).get("name"), body.get("kind")
    if not sku or not kind:
        raise bad_request(
            "InvalidRequestContent", "Required properties 'sku' and 'kind' must be specified."
        )
    account_shape.check(sku, kind, body.get("properties") or {})
    shown: Body = {
        "sku": account_shape.sku(sku),
        "kind": kind,
        "location": place,
        "tags": tracked.tags(body) or {},
    }
    shown["properties"] = account_shape.fresh(call, body, place)
    record = Record(
        tracked.new_id(call, TYPE),
        KIND,
        shown,
        {**_new_keys(), "set": sorted(body.get("properties") or {})},
    )
    _identify(call, record, body)
    with azure.store.transaction():
        azure.store.put(record)
        running = azure.operations.begin(record.key, "account.created", factor=2)
    where = operations.url(
        call, "Microsoft.Storage", place, "asyncoperations", running, status=False
    )
    return Reply(
        202, None, {"Location": where.replace("?", "?monitor=true&", 1), **operations.waiting(call)}
    )


def created(azure: Azure, operation: Operation) -> None:
    record = azure.store.get(operation.resource)
    if record is not None:
        record.body["properties"]["provisioningState"] = "Succeeded"
        azure.store.put(record)


def result(call: Call) -> Reply:
    running = call.azure.operations.get(call.target.name)
    if running is None:
        raise not_found("Microsoft.Storage/locations/asyncoperations", call.target.name, "")
    if not running.done:
        where = f"{call.base}{call.target.path}?monitor=true&api-version={call.version}"
        return Reply(202, None, {"Location": where, **operations.waiting(call)})
    operations.refuse_failed(running)
    record = call.azure.store.get(running.resource)
    return Reply(200, account_shape.view(call, record)) if record else Reply(204)


def get(call: Call) -> Reply:
    """On its way an account is `Creating`, then `ResolvingDns`."""
    record = tracked.find(call, TYPE)
    running = call.azure.operations.busy(record.key)
    if running is not None and clock.now() > (running.started + running.due) / 2:
        record.body["properties"]["provisioningState"] = "ResolvingDns"
    return Reply(200, account_shape.view(call, record))


def patch(call: Call) -> Reply:
    record = tracked.find(call, TYPE)
    return _update(call, record, call.document(), record.body["location"])


def listing(call: Call) -> Reply:
    return page(
        call,
        [
            account_shape.view(call, record)
            for record in call.azure.store.each(KIND, tracked.scope(call))
        ],
    )


def delete(call: Call) -> Reply:
    tracked.require_group(call)
    record = call.azure.store.get(call.target.key)
    if record is None:
        return Reply(204)
    call.azure.store.delete(record.key)
    tree.discard(tree.account(call.azure.options, record.name))
    call.azure.composition.changed()
    return Reply(200)


def list_keys(call: Call) -> Reply:
    return Reply(200, {"keys": _keys(_provisioned(call))})


def regenerate_key(call: Call) -> Reply:
    record = _provisioned(call)
    name = call.document().get("keyName")
    if name not in {"key1", "key2"}:
        raise bad_request(
            "InvalidRequestPropertyValue",
            f"The value '{name}' is not allowed for property keyName.",
        )
    record.private[name] = _secret()
    record.body["properties"]["keyCreationTime"][name] = clock.zulu()
    call.azure.store.put(record)
    call.azure.composition.changed()
    return Reply(200, {"keys": _keys(record)})


def check_name(call: Call) -> Reply:
    name = str(call.document().get("name", ""))
    if not _NAME.fullmatch(name):
        return Reply(
            200,
            {"nameAvailable": False, "reason": "AccountNameInvalid", "message": _name_text(name)},
        )
    if _taken(call.azure, name):
        text = f"The storage account named {name} is already taken."
        return Reply(200, {"nameAvailable": False, "reason": "AlreadyExists", "message": text})
    return Reply(200, {"nameAvailable": True})


def _update(call: Call, record: Record, body: Body, place: str) -> Reply:
    """What is sent is merged over what is there; tags and identity are replaced."""
    if call.azure.operations.busy(record.key):
        text = (
            "An operation is currently performing on this storage account that requires exclusive"
            " access."
        )
        raise conflict("StorageAccountOperationInProgress", text)
    shown, sent = record.body, body.get("properties") or {}
    kind, sku = body.get("kind") or shown["kind"], (body.get("sku") or shown["sku"])["name"]
    if kind != shown["kind"] and (
        shown["kind"] not in {"Storage", "BlobStorage"} or kind != "StorageV2"
    ):
        raise bad_request(
            "AccountPropertyCannotBeUpdated",
            "The property 'kind' was specified in the input, but it cannot be updated.",
        )
    account_shape.check(sku, kind, sent)
    shown["properties"] = account_shape.settled(shown["properties"], sent, kind)
    shown.update(kind=kind, location=place, sku=account_shape.sku(sku))
    record.private["set"] = sorted({*record.private.get("set", ()), *sent})
    if body.get("tags") is not None:
        shown["tags"] = tracked.tags(body) or {}
    _identify(call, record, body)
    call.azure.store.put(record)
    return Reply(200, account_shape.view(call, record))


def _identify(call: Call, record: Record, body: Body) -> None:
    if body.get("identity") is not None:
        record.body["identity"] = tracked.identity(call, body, record.id)


def _provisioned(call: Call) -> Record:
    record = tracked.acted_on(call, TYPE)
    if record.body["properties"]["provisioningState"] != "Succeeded":
        text = (
            "The storage account provisioning state must be 'Succeeded' before executing the"
            " operation."
        )
        raise ArmError(409, "StorageAccountIsNotProvisioned", text)
    return record


def _taken(azure: Azure, name: str) -> bool:
    return any(record.name.lower() == name.lower() for record in azure.store.each(KIND))


def _keys(record: Record) -> list[Body]:
    made = record.body["properties"]["keyCreationTime"]
    return [
        {
            "creationTime": made[name],
            "keyName": name,
            "value": record.private[name],
            "permissions": "FULL",
        }
        for name in ("key1", "key2")
    ]


def _name_text(name: str) -> str:
    return (
        f"{name} is not a valid storage account name. Storage account name must be between 3 and 24"
        " characters in length and use numbers and lower-case letters only."
    )


def _new_keys() -> dict[str, str]:
    return {"key1": _secret(), "key2": _secret()}


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


ROUTES: dict[str, Handler] = {
    "put microsoft.storage/storageaccounts/{}": put,
    "get microsoft.storage/storageaccounts/{}": get,
    "patch microsoft.storage/storageaccounts/{}": patch,
    "delete microsoft.storage/storageaccounts/{}": delete,
    "get microsoft.storage/storageaccounts": listing,
    "post microsoft.storage/storageaccounts/{}/listkeys": list_keys,
    "post microsoft.storage/storageaccounts/{}/regeneratekey": regenerate_key,
    "post microsoft.storage/checknameavailability": check_name,
    "get microsoft.storage/locations/{}/asyncoperations/{}": result,
}
