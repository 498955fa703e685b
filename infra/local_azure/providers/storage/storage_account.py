"""Storage accounts: creation as an operation, keys, name availability. Their shares are in
`file_share`.
"""

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure import clock
from infra.local_azure.arm.body_types import ANY, COMMON, TEXT, TRUTH
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError, bad_request, conflict, not_found
from infra.local_azure.arm.operations import Finisher, Operations
from infra.local_azure.arm.polling import Polling, address, refuse_failed
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.changes import Changes
from infra.local_azure.control import tracked
from infra.local_azure.control.records import Body, Records
from infra.local_azure.files.tree import Tree, discard
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

from . import account_shape
from .account_shape import TYPE

KIND = TYPE.lower()
_NAME = re.compile(r"[a-z0-9]{3,24}")
_ACCOUNT: Any = {
    **COMMON,
    "kind": TEXT,
    "sku": {"name": TEXT, "tier": TEXT},
    "properties": {
        "networkAcls": {"*": ANY},
        "accessTier": TEXT,
        "minimumTlsVersion": TEXT,
        "allowSharedKeyAccess": TRUTH,
    },
}


@dataclass(frozen=True)
class StorageAccounts(Provider):
    """Accounts with their two keys."""

    store: Store
    records: Records
    operations: Operations
    polling: Polling
    tree: Tree
    changes: Changes

    shapes: ClassVar[Mapping[str, Any]] = {
        "microsoft.storage/storageaccounts/{}": _ACCOUNT,
        "microsoft.storage/storageaccounts/{}/regeneratekey": {"keyName": TEXT},
        "microsoft.storage/checknameavailability": {"name": TEXT, "type": TEXT},
    }
    shown: ClassVar[Mapping[str, str]] = {KIND: TYPE}

    def routes(self) -> Routes:
        return {
            "put microsoft.storage/storageaccounts/{}": self.put,
            "get microsoft.storage/storageaccounts/{}": self.get,
            "patch microsoft.storage/storageaccounts/{}": self.patch,
            "delete microsoft.storage/storageaccounts/{}": self.delete,
            "get microsoft.storage/storageaccounts": self.listing,
            "post microsoft.storage/storageaccounts/{}/listkeys": self.list_keys,
            "post microsoft.storage/storageaccounts/{}/regeneratekey": self.regenerate_key,
            "post microsoft.storage/checknameavailability": self.check_name,
            "get microsoft.storage/locations/{}/asyncoperations/{}": self.result,
        }

    def finishers(self) -> Mapping[str, Finisher]:
        return {"account.created": self.records.succeed}

    def put(self, call: Call) -> Reply:
        """A new account takes a while and answers 202 with nothing; an existing one is
        updated at once.
        """
        body, name = call.document(), call.target.name
        self.records.group(call)
        known = self.store.get(call.target.key)
        place = tracked.location(body, known, TYPE)
        if known is not None:
            return self._update(call, known, body, place)
        if not _NAME.fullmatch(name):
            raise bad_request("AccountNameInvalid", _name_text(name))
        if self._taken(name):
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
            self.records.new_id(call, TYPE),
            KIND,
            shown,
            {**_new_keys(), "set": sorted(body.get("properties") or {})},
        )
        self._identify(call, record, body)
        with self.store.transaction():
            self.store.put(record)
            running = self.operations.begin(record.key, "account.created", factor=2)
        # Azure gives a Location alone, with monitor=true in front (recorded).
        where = address(call, "Microsoft.Storage", place, "asyncoperations", running, status=False)
        return Reply(
            202,
            None,
            {"Location": where.replace("?", "?monitor=true&", 1), **self.polling.waiting(call)},
        )

    def result(self, call: Call) -> Reply:
        running = self.operations.get(call.target.name)
        if running is None:
            raise not_found("Microsoft.Storage/locations/asyncoperations", call.target.name, "")
        if not running.done:
            return self.polling.again(call, "monitor=true&")
        refuse_failed(running)
        record = self.store.get(running.resource)
        return Reply(200, account_shape.view(call, record)) if record else Reply(204)

    def get(self, call: Call) -> Reply:
        """A new account is `Creating`, then `ResolvingDns`."""
        record = self.records.find(call, TYPE)
        running = self.operations.busy(record.key)
        if running is not None and clock.now() > (running.started + running.due) / 2:
            record.body["properties"]["provisioningState"] = "ResolvingDns"
        return Reply(200, account_shape.view(call, record))

    def patch(self, call: Call) -> Reply:
        record = self.records.find(call, TYPE)
        return self._update(call, record, call.document(), record.body["location"])

    def listing(self, call: Call) -> Reply:
        return listed(
            [
                account_shape.view(call, record)
                for record in self.store.each(KIND, self.records.scope(call))
            ],
        )

    def delete(self, call: Call) -> Reply:
        self.records.group(call)
        record = self.store.get(call.target.key)
        if record is None:
            return Reply(204)
        self.store.delete(record.key)
        discard(self.tree.account(record.name))
        self.changes.notify()
        return Reply(200)

    def list_keys(self, call: Call) -> Reply:
        return Reply(200, {"keys": _keys(self._provisioned(call))})

    def regenerate_key(self, call: Call) -> Reply:
        record = self._provisioned(call)
        name = call.document().get("keyName")
        if name not in {"key1", "key2"}:
            raise bad_request(
                "InvalidRequestPropertyValue",
                f"The value '{name}' is not allowed for property keyName.",
            )
        record.private[name] = _secret()
        record.body["properties"]["keyCreationTime"][name] = clock.zulu()
        self.store.put(record)
        self.changes.notify()
        return Reply(200, {"keys": _keys(record)})

    def check_name(self, call: Call) -> Reply:
        name = str(call.document().get("name", ""))
        if not _NAME.fullmatch(name):
            return Reply(
                200,
                {
                    "nameAvailable": False,
                    "reason": "AccountNameInvalid",
                    "message": _name_text(name),
                },
            )
        if self._taken(name):
            text = f"The storage account named {name} is already taken."
            return Reply(200, {"nameAvailable": False, "reason": "AlreadyExists", "message": text})
        return Reply(200, {"nameAvailable": True})

    def _update(self, call: Call, record: Record, body: Body, place: str) -> Reply:
        """What is sent is merged over what is there; tags and identity are replaced."""
        if self.operations.busy(record.key):
            text = (
                "An operation is currently performing on this storage account that requires"
                " exclusive access."
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
        self._identify(call, record, body)
        self.store.put(record)
        return Reply(200, account_shape.view(call, record))

    def _identify(self, call: Call, record: Record, body: Body) -> None:
        if body.get("identity") is not None:
            identity = self.records.managed_identity(body, record.id)
            self.records.require_identities(identity, record.id)
            record.body["identity"] = identity

    def _provisioned(self, call: Call) -> Record:
        record = self.records.acted_on(call, TYPE)
        if record.body["properties"]["provisioningState"] != "Succeeded":
            text = (
                "The storage account provisioning state must be 'Succeeded' before executing the"
                " operation."
            )
            raise ArmError(409, "StorageAccountIsNotProvisioned", text)
        return record

    def _taken(self, name: str) -> bool:
        return any(record.name.lower() == name.lower() for record in self.store.each(KIND))


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
