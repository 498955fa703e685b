"""File services as ARM shows them: one for each account that has files, with its SMB, CORS and
soft-delete settings.
"""

from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import ArmError, bad_request, conflict
from infra.local_azure.providers import tracked
from infra.local_azure.providers.tracked import Body
from infra.local_azure.store import Record, Store

from . import account_shape, storage_account

TYPE = "Microsoft.Storage/storageAccounts/fileServices"
KIND = TYPE.lower()
_SECTIONS = ("protocolSettings", "cors", "shareDeleteRetentionPolicy")
_METHODS = {"DELETE", "GET", "HEAD", "MERGE", "OPTIONS", "PATCH", "POST", "PUT"}


def get(call: Call) -> Reply:
    return Reply(200, _view(call, account(call, 1)))


def listing(call: Call) -> Reply:
    """An account has exactly one."""
    return Reply(200, {"value": [_view(call, account(call, 1))]})


def put(call: Call) -> Reply:
    """Sections that are not sent stay. The answer echoes what was sent, and hardly anything when
    that was nothing.
    """
    owner, body = account(call, 1), call.body if isinstance(call.body, dict) else {}
    sent = {
        name: value
        for name, value in (body.get("properties") or {}).items()
        if name in _SECTIONS and value is not None
    }
    _check(sent, owner)
    identifier = f"{owner.id}/fileServices/default"
    known = call.azure.store.get(identifier)
    call.azure.store.put(
        Record(
            identifier,
            KIND,
            {"properties": {**(known.body["properties"] if known else {}), **sent}},
        )
    )
    if "properties" not in body and call.version < "2023-05-01":
        return Reply(200, {"name": "default"})
    return Reply(200, {"id": identifier, "name": "default", "type": TYPE, "properties": sent})


def delete(call: Call) -> Reply:
    account(call, 1)
    text = "The requested resource does not support http method 'DELETE'."
    raise ArmError(405, "MethodNotAllowed", text, headers={"Allow": "GET, PUT"})


def account(call: Call, depth: int) -> Record:
    """The account that this call's resource hangs on, ready and of a kind that has files."""
    record = tracked.parent(call, storage_account.KIND, depth)
    if record.body["properties"]["provisioningState"] != "Succeeded":
        text = (
            "The storage account provisioning state must be 'Succeeded' before executing the"
            " operation."
        )
        raise conflict("StorageAccountIsNotProvisioned", text)
    if not account_shape.has_files(record.body["kind"]):
        raise conflict("FeatureNotSupportedForAccount", "File is not supported for the account.")
    return record


def retention_days(store: Store, owner: Record) -> int:
    """How long a deleted share can be had back; 0 when it cannot."""
    policy = settings(store, owner)["shareDeleteRetentionPolicy"]
    return int(policy["days"]) if policy["enabled"] else 0


def settings(store: Store, owner: Record) -> Body:
    known = store.get(f"{owner.id}/fileServices/default")
    sent = known.body["properties"] if known else {}
    smb = dict((sent.get("protocolSettings") or {}).get("smb") or {})
    if owner.body["kind"] == "FileStorage":
        smb.setdefault("multichannel", {"enabled": False})
    policy = sent.get("shareDeleteRetentionPolicy") or {"enabled": True, "days": 7}
    return {
        "protocolSettings": {**(sent.get("protocolSettings") or {}), "smb": smb},
        "cors": {"corsRules": [], **(sent.get("cors") or {})},
        "shareDeleteRetentionPolicy": (
            policy if policy.get("enabled") else {"enabled": False, "days": 0}
        ),
    }


def _view(call: Call, owner: Record) -> Body:
    named = {"id": f"{owner.id}/fileServices/default", "name": "default", "type": TYPE}
    return {"sku": owner.body["sku"], **named, "properties": settings(call.azure.store, owner)}


def _check(sent: Body, owner: Record) -> None:
    policy = sent.get("shareDeleteRetentionPolicy") or {}
    days = policy.get("days")
    if policy.get("enabled") and not (isinstance(days, int) and 1 <= days <= 365):
        raise bad_request(
            "InvalidRequestPropertyValue", f"The value '{days}' is not allowed for property days."
        )
    multichannel = ((sent.get("protocolSettings") or {}).get("smb") or {}).get("multichannel") or {}
    if multichannel.get("enabled") and owner.body["kind"] != "FileStorage":
        raise conflict(
            "FeatureNotSupportedForAccount", "SMB Multichannel is not supported for the account."
        )
    for rule in (sent.get("cors") or {}).get("corsRules") or []:
        if wrong := [
            method for method in rule.get("allowedMethods") or [] if method not in _METHODS
        ]:
            raise bad_request(
                "InvalidRequestPropertyValue",
                f"The value '{wrong[0]}' is not allowed for property allowedMethods.",
            )


_BASE = "microsoft.storage/storageaccounts/{}/fileservices"
ROUTES: dict[str, Handler] = {
    f"get {_BASE}": listing,
    f"get {_BASE}/{{}}": get,
    f"put {_BASE}/{{}}": put,
    f"delete {_BASE}/{{}}": delete,
}
