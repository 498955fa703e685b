"""File services and shares as ARM shows them. The data plane (`files`) reads and writes the same records."""

import re
import uuid

from infra.local_azure import clock
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import ArmError, bad_request, conflict, not_implemented
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.files import leases, tree
from infra.local_azure.store import Record

from . import storage_account, tracked
from .tracked import Body

TYPE = "Microsoft.Storage/storageAccounts/fileServices/shares"
SERVICE = "Microsoft.Storage/storageAccounts/fileServices"
KIND, SERVICE_KIND = TYPE.lower(), SERVICE.lower()
_NAME = re.compile(r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]")


def get_service(call: Call) -> Reply:
    account = _account(call, 1)
    record = call.azure.store.get(call.target.key)
    sent = record.body["properties"] if record else {}
    properties = {
        "protocolSettings": {"smb": {}},
        "cors": {"corsRules": []},
        "shareDeleteRetentionPolicy": {"enabled": False, "days": 0},
        **sent,
    }
    return Reply(
        200, {"sku": account.body["sku"], **_named(f"{account.id}/fileServices/default", SERVICE), "properties": properties}
    )


def list_services(call: Call) -> Reply:
    """An account has exactly one."""
    path = f"{call.target.path}/default"
    inner = Call(call.azure, "GET", type(call.target)(path, call.target.route), call.query, call.version, None, call.base)
    return Reply(200, {"value": [get_service(inner).body]})


def put_service(call: Call) -> Reply:
    """The answer echoes what was sent. Deleted shares are gone at once here, so keeping them is refused, not pretended."""
    account, body = _account(call, 1), call.body if isinstance(call.body, dict) else {}
    sent = body.get("properties") or {}
    if (sent.get("shareDeleteRetentionPolicy") or {}).get("enabled"):
        raise not_implemented("soft delete of file shares (shareDeleteRetentionPolicy.enabled)")
    record = Record(f"{account.id}/fileServices/default", SERVICE_KIND, {"properties": sent})
    call.azure.store.put(record)
    return Reply(200, {**_named(record.id, SERVICE), **({"properties": sent} if sent else {})})


def put(call: Call) -> Reply:
    account, body = _account(call, 2), call.body if isinstance(call.body, dict) else {}
    known, sent = call.azure.store.get(call.target.key), dict(body.get("properties") or {})
    record = known or create(call.azure, account, call.target.name)
    settle(record, account, quota=sent.get("shareQuota"), metadata=sent.get("metadata"), tier=sent.get("accessTier"))
    call.azure.store.put(record)
    echo = {"properties": sent} if "properties" in body else {}
    return Reply(200 if known else 201, {**_named(record.id, TYPE), **echo}, {"ETag": record.body["etag"]})


def get(call: Call) -> Reply:
    record = _share(call)
    return Reply(200, {**_view(call.azure, record), "etag": record.body["etag"]}, {"ETag": record.body["etag"]})


def patch(call: Call) -> Reply:
    """Metadata is replaced, never merged."""
    record, sent = _share(call), call.document().get("properties") or {}
    settle(record, _account(call, 2), quota=sent.get("shareQuota"), metadata=sent.get("metadata"), tier=sent.get("accessTier"))
    call.azure.store.put(record)
    return Reply(200, _view(call.azure, record), {"ETag": record.body["etag"]})


def delete(call: Call) -> Reply:
    _account(call, 2)
    record = call.azure.store.get(call.target.key)
    if record is None:
        return Reply(204)
    if leases.active(call.azure.store, record.key):
        raise conflict(
            "LeaseIdMissing", "There is currently a lease on the file share and no lease ID was specified in the request."
        )
    remove(call.azure, record)
    return Reply(200)


def listing(call: Call) -> Reply:
    account = _account(call, 2)
    wanted = call.query.get("$filter", "")
    match = re.fullmatch(r"startswith\(name,\s*'?([^')]*)'?\)", wanted)
    shares = call.azure.store.each(KIND, account.id)
    shown = [record for record in shares if not match or record.name.startswith(match[1])]
    return page(call, [{**_view(call.azure, record), "etag": record.body["etag"]} for record in shown])


def create(azure: Azure, account: Record, name: str) -> Record:
    """A new share's record and its directory; the caller stores it. Used by the data plane too."""
    if not _NAME.fullmatch(name):
        text = (
            "The specifed resource name contains invalid characters."
            if 3 <= len(name) <= 63
            else "The specified resource name length is not within the permissible limits."
        )
        raise bad_request("InvalidResourceName" if 3 <= len(name) <= 63 else "OutOfRangeInput", text)
    tree.ensure(azure.options, account.name, name)
    azure.composition.changed()  # a replica that had the share of this name mounts it again
    return Record(f"{account.id}/fileServices/default/shares/{name}", KIND, {"created": clock.now()})


def settle(
    record: Record, account: Record, *, quota: object = None, metadata: Body | None = None, tier: str | None = None
) -> None:
    """Apply a write's settings and give the share a new etag."""
    most = 102400 if _large(account) else 5120
    if quota is not None and (not isinstance(quota, int) or not 1 <= quota <= most):
        raise bad_request("InvalidRequestPropertyValue", f"The value '{quota}' is not allowed for property shareQuota.")
    body = record.body
    body["shareQuota"] = quota or body.get("shareQuota") or most
    body["accessTier"] = tier or body.get("accessTier") or "TransactionOptimized"
    if metadata is not None:
        body["metadata"] = {str(key): str(value) for key, value in metadata.items()}
    body["modified"] = clock.now()
    body["etag"] = new_etag()


def new_etag() -> str:
    return f'"0x{uuid.uuid4().hex[:15].upper()}"'


def remove(azure: Azure, record: Record) -> None:
    account, share = record.id.split("/")[8], record.name
    azure.store.delete(record.key)
    tree.discard(tree.share(azure.options, account, share))
    azure.composition.changed()


def _large(account: Record) -> bool:
    large = account.body["properties"].get("largeFileSharesState") == "Enabled"
    return large or bool(account.body["kind"] == "FileStorage")


def _account(call: Call, depth: int) -> Record:
    record = tracked.parent(call, storage_account.KIND, depth)
    if record.body["properties"]["provisioningState"] != "Succeeded":
        text = "The storage account provisioning state must be 'Succeeded' before executing the operation."
        raise conflict("StorageAccountIsNotProvisioned", text)
    return record


def _share(call: Call) -> Record:
    _account(call, 2)
    record = call.azure.store.get(call.target.key)
    if record is None:
        raise ArmError(404, "ShareNotFound", "The specified share does not exist.")
    return record


def _view(azure: Azure, record: Record) -> Body:
    body = record.body
    lease = leases.describe(azure.store, record.key)
    properties: Body = {
        **lease,
        "signedIdentifiers": policies(record),
        "accessTier": body["accessTier"],
        "accessTierChangeTime": clock.zulu(body["created"]),
        "lastModifiedTime": clock.zulu(int(body["modified"])),
        "shareQuota": body["shareQuota"],
        "enabledProtocols": "SMB",
    }
    if body.get("metadata"):
        properties["metadata"] = body["metadata"]
    return {**_named(record.id, TYPE), "properties": properties}


def policies(record: Record) -> list[Body]:
    """The stored access policies that the data plane keeps in the record."""
    names = {"st": "startTime", "se": "expiryTime", "sp": "permission"}
    return [
        {"id": identifier, "accessPolicy": {names[field]: value for field, value in policy.items()}}
        for identifier, policy in record.body.get("policies", {}).items()
    ]


def _named(identifier: str, kind: str) -> Body:
    return {"id": identifier, "name": identifier.rsplit("/", 1)[-1], "type": kind}


_BASE = "microsoft.storage/storageaccounts/{}/fileservices"
ROUTES: dict[str, Handler] = {
    f"get {_BASE}": list_services,
    f"get {_BASE}/{{}}": get_service,
    f"put {_BASE}/{{}}": put_service,
    f"get {_BASE}/{{}}/shares": listing,
    f"put {_BASE}/{{}}/shares/{{}}": put,
    f"get {_BASE}/{{}}/shares/{{}}": get,
    f"patch {_BASE}/{{}}/shares/{{}}": patch,
    f"delete {_BASE}/{{}}/shares/{{}}": delete,
}
