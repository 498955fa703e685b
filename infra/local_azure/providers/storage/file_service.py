"""File services as ARM shows them: one for each account that has files, with its SMB, CORS and
soft-delete settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure.arm.body_types import ANY
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError, bad_request, conflict
from infra.local_azure.arm.reply import Reply
from infra.local_azure.control.records import Body, Records
from infra.local_azure.files import service_settings
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

from . import account_shape, storage_account

TYPE = "Microsoft.Storage/storageAccounts/fileServices"
KIND = TYPE.lower()
_SECTIONS = ("protocolSettings", "cors", "shareDeleteRetentionPolicy")
_METHODS = {"DELETE", "GET", "HEAD", "MERGE", "OPTIONS", "PATCH", "POST", "PUT"}


@dataclass(frozen=True)
class FileServices(Provider):
    """The one file service of an account."""

    store: Store
    records: Records

    shapes: ClassVar[Mapping[str, Any]] = {
        "microsoft.storage/storageaccounts/{}/fileservices/{}": {"properties": {"*": ANY}}
    }

    def routes(self) -> Routes:
        return {
            f"get {_BASE}": self.listing,
            f"get {_BASE}/{{}}": self.get,
            f"put {_BASE}/{{}}": self.put,
            f"delete {_BASE}/{{}}": self.delete,
        }

    def get(self, call: Call) -> Reply:
        return Reply(200, self._view(call, account(self.records, call, 1)))

    def listing(self, call: Call) -> Reply:
        """An account has exactly one."""
        return Reply(200, {"value": [self._view(call, account(self.records, call, 1))]})

    def put(self, call: Call) -> Reply:
        """Sections that are not sent stay. The answer echoes what was sent, and only a name when
        that was nothing.
        """
        owner, body = (
            account(self.records, call, 1),
            call.body if isinstance(call.body, dict) else {},
        )
        sent = {
            name: value
            for name, value in (body.get("properties") or {}).items()
            if name in _SECTIONS and value is not None
        }
        _check(sent, owner)
        identifier = f"{owner.id}/fileServices/default"
        known = self.store.get(identifier)
        self.store.put(
            Record(
                identifier,
                KIND,
                {"properties": {**(known.body["properties"] if known else {}), **sent}},
            )
        )
        if "properties" not in body and call.version < "2023-05-01":
            return Reply(200, {"name": "default"})
        return Reply(200, {"id": identifier, "name": "default", "type": TYPE, "properties": sent})

    def delete(self, call: Call) -> Reply:
        account(self.records, call, 1)
        text = "The requested resource does not support http method 'DELETE'."
        raise ArmError(405, "MethodNotAllowed", text, headers={"Allow": "GET, PUT"})

    def _view(self, call: Call, owner: Record) -> Body:
        named = {"id": f"{owner.id}/fileServices/default", "name": "default", "type": TYPE}
        return {
            "sku": owner.body["sku"],
            **named,
            "properties": service_settings.settings(self.store, owner),
        }


def account(records: Records, call: Call, depth: int) -> Record:
    """The account of the resource that the call names. It must be ready and of a kind that has
    files.
    """
    record = records.parent(call, storage_account.KIND, depth)
    if record.body["properties"]["provisioningState"] != "Succeeded":
        text = (
            "The storage account provisioning state must be 'Succeeded' before executing the"
            " operation."
        )
        raise conflict("StorageAccountIsNotProvisioned", text)
    if not account_shape.has_files(record.body["kind"]):
        raise conflict("FeatureNotSupportedForAccount", "File is not supported for the account.")
    return record


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
