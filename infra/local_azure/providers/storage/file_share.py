"""File shares as ARM shows them. The data plane (`files`) reads and writes the same records; copies
are in `share_copies`.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local_azure import clock
from infra.local_azure.arm import ids
from infra.local_azure.arm.body_types import TEXT, WHOLE, known_fields
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError, bad_request, conflict
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.control.records import Body, Records
from infra.local_azure.files import leases, service_settings, share_copies, share_records, usage
from infra.local_azure.files.errors import FilesError
from infra.local_azure.files.share_copies import ShareCopies
from infra.local_azure.files.share_records import Shares
from infra.local_azure.files.tree import Tree
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Record, Store

from .file_service import account

TYPE = "Microsoft.Storage/storageAccounts/fileServices/shares"
KIND = TYPE.lower()
_NAME = re.compile(r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]")
_SNAPSHOT_HEADER = "x-ms-snapshot"
_POLICY = {"st": "startTime", "se": "expiryTime", "sp": "permission"}
_SHARE: Any = {
    "properties": {
        "shareQuota": WHOLE,
        "accessTier": TEXT,
        "enabledProtocols": TEXT,
        "rootSquash": TEXT,
        "metadata": {"*": TEXT},
        "signedIdentifiers": [
            {
                "id": TEXT,
                "accessPolicy": {"startTime": TEXT, "expiryTime": TEXT, "permission": TEXT},
            }
        ],
    }
}


@dataclass(frozen=True)
class FileShares(Provider):
    """Shares, their snapshots, and deleted shares."""

    store: Store
    records: Records
    shares: Shares
    copies: ShareCopies
    tree: Tree

    shapes: ClassVar[Mapping[str, Any]] = {
        "microsoft.storage/storageaccounts/{}/fileservices/{}/shares/{}": _SHARE
    }

    def routes(self) -> Routes:
        return {
            f"get {_BASE}": self.listing,
            f"put {_BASE}/{{}}": self.put,
            f"get {_BASE}/{{}}": self.get,
            f"patch {_BASE}/{{}}": self.patch,
            f"delete {_BASE}/{{}}": self.delete,
            f"post {_BASE}/{{}}/restore": self.restore,
            f"post {_BASE}/{{}}/lease": self.lease,
        }

    async def put(self, call: Call) -> Reply:
        """Create or change a share, or with `$expand=snapshots` make a snapshot of it. The answer
        echoes what was sent.
        """
        owner, body = (
            account(self.records, call, 2),
            call.body if isinstance(call.body, dict) else {},
        )
        known, sent = self.store.get(call.target.key), _sent(body)
        echo = {"properties": sent} if "properties" in body or call.version >= "2023-05-01" else {}
        if "snapshots" in _expanded(call):
            made = await self.copies.snapshot(self._share(call), sent.get("metadata"))
            shown = {
                **_named(self._share(call).id),
                "properties": {**sent, "snapshotTime": made.body["snapshot"]},
            }
            return Reply(201, shown)
        record = known or self.shares.create(owner, call.target.name)
        self._write(call, record, owner, sent)
        return Reply(
            200 if known else 201, {**_named(record.id), **echo}, {"ETag": record.body["etag"]}
        )

    async def get(self, call: Call) -> Reply:
        record = share = self._share(call)
        if stamp := call.headers.get(_SNAPSHOT_HEADER):
            record = self.copies.find_snapshot(share, stamp)
        properties = self._properties(call, record)
        properties |= {"signedIdentifiers": policies(share)}
        if record.body.get("metadata"):
            properties["metadata"] = record.body["metadata"]
        if share.body.get("enabledProtocols", "SMB") == "SMB":
            del properties["enabledProtocols"]
        if "stats" in _expanded(call):
            folder = self.tree.ensure(share.id.split("/")[8], share.name)
            properties["shareUsageBytes"] = await asyncio.to_thread(usage.measure, folder)
        etag = record.body["etag"]
        return Reply(
            200, {**_named(share.id), "etag": etag, "properties": properties}, {"ETag": etag}
        )

    def patch(self, call: Call) -> Reply:
        """Metadata is replaced, never merged."""
        record, sent = self._share(call), _sent(call.document())
        self._write(call, record, account(self.records, call, 2), sent)
        return Reply(200, {**_named(record.id), "properties": sent}, {"ETag": record.body["etag"]})

    def delete(self, call: Call) -> Reply:
        """Delete one snapshot, or the share. A share with snapshots stays unless `$include` names
        them too.
        """
        owner = account(self.records, call, 2)
        record = self.store.get(call.target.key)
        if record is None:
            return Reply(204)
        if stamp := call.headers.get(_SNAPSHOT_HEADER):
            self.copies.drop_snapshot(self.copies.find_snapshot(record, stamp))
            return Reply(200)
        included = call.query.get("$include", "none").lower()
        # Azure deletes no share that has snapshots (recorded: 409 ShareHasSnapshots).
        if included == "none" and self.copies.snapshots(record):
            raise conflict(
                "ShareHasSnapshots",
                "The share has snapshots and the operation requires no snapshots.",
            )
        if included != "leased-snapshots" and leases.active(self.store, record.key):
            raise conflict(
                "LeaseIdMissing",
                "There is currently a lease on the file share and no lease ID was specified in the"
                " request.",
            )
        self.copies.delete(record, service_settings.retention_days(self.store, owner))
        return Reply(200)

    def listing(self, call: Call) -> Reply:
        """In the order of their names; snapshots before their share, deleted ones only when asked
        for, metadata never.
        """
        owner, wanted = account(self.records, call, 2), _expanded(call)
        match = re.fullmatch(r"startswith\(name,\s*'?([^')]*)'?\)", call.query.get("$filter", ""))
        entries = []
        for share in self.store.each(KIND, owner.id):
            copies = self.copies.snapshots(share) if "snapshots" in wanted else []
            entries += [
                (share.name, self._entry(call, share.id, share.name, record))
                for record in (*copies, share)
            ]
        for kept in self.copies.deleted(owner) if "deleted" in wanted else []:
            entries.append((kept.body["name"], self._entry(call, kept.id, kept.body["name"], kept)))
        entries.sort(key=lambda entry: entry[0])
        return listed([shown for name, shown in entries if not match or name.startswith(match[1])])

    def restore(self, call: Call) -> Reply:
        """Restore a deleted share, which is named by its version."""
        owner, body = account(self.records, call, 3), call.document()
        record = self.copies.restore(
            owner,
            str(body.get("deletedShareName") or ""),
            str(body.get("deletedShareVersion") or ""),
        )
        record.body |= {"modified": clock.now(), "etag": share_records.new_etag()}
        self.store.put(record)
        return Reply(200)

    def lease(self, call: Call) -> Reply:
        """The lease operations of the data plane, as one POST."""
        account(self.records, call, 3)
        record, body, store = (
            self._found(call, call.target.key.rsplit("/", 1)[0]),
            call.document(),
            self.store,
        )
        action, identifier = str(body.get("action") or ""), str(body.get("leaseId") or "")
        try:
            match action.lower():
                case "acquire":
                    lasts = _seconds(body.get("leaseDuration"))
                    held = leases.acquire(store, record.key, lasts, body.get("proposedLeaseId"))
                    return Reply(200, {"leaseId": held.id})
                case "renew":
                    return Reply(200, {"leaseId": leases.renew(store, record.key, identifier).id})
                case "change":
                    proposed = str(body.get("proposedLeaseId") or "")
                    return Reply(
                        200, {"leaseId": leases.change(store, record.key, identifier, proposed).id}
                    )
                case "release":
                    leases.release(store, record.key, identifier)
                    return Reply(200, {})
                case "break":
                    return Reply(
                        200,
                        {
                            "leaseTimeSeconds": str(
                                leases.break_(store, record.key, body.get("breakPeriod"))
                            )
                        },
                    )
        except FilesError as refused:
            raise ArmError(refused.status, refused.code, refused.message) from None
        raise bad_request(
            "InvalidRequestPropertyValue",
            f"The value '{action}' is not allowed for property action.",
        )

    def _write(self, call: Call, record: Record, owner: Record, sent: Body) -> None:
        """Before 2023-05-01 a standard account's shares held 5 TiB; since then all accounts are
        made for large ones.
        """
        protocol = sent.get("enabledProtocols")
        if protocol is not None and protocol not in {"SMB", "NFS"}:
            raise bad_request(
                "InvalidRequestPropertyValue",
                f"The value '{protocol}' is not allowed for property enabledProtocols.",
            )
        if protocol == "NFS" and owner.body["kind"] != "FileStorage":
            raise conflict("FeatureNotSupportedForAccount", "NFS is not supported for the account.")
        default = 5120 if call.version < "2023-05-01" else None
        settings = {
            "quota": sent.get("shareQuota"),
            "metadata": sent.get("metadata"),
            "tier": sent.get("accessTier"),
        }
        share_records.settle(record, owner, **settings, default=default)
        record.body |= {
            name: sent[name] for name in ("enabledProtocols", "rootSquash") if sent.get(name)
        }
        if sent.get("signedIdentifiers") is not None:
            record.body["policies"] = _read_policies(sent["signedIdentifiers"])
        self.store.put(record)

    def _share(self, call: Call) -> Record:
        account(self.records, call, 2)
        return self._found(call, call.target.key)

    def _found(self, call: Call, key: str) -> Record:
        record = self.store.get(key)
        if record is None:
            raise ArmError(404, "ShareNotFound", "The specified share does not exist.")
        return record

    def _entry(self, call: Call, identifier: str, name: str, record: Record) -> Body:
        properties = self._properties(call, record)
        if "snapshot" in record.body:
            properties.pop("accessTierChangeTime", None)
        return {
            **_named(identifier),
            "name": name,
            "etag": record.body["etag"],
            "properties": properties,
        }

    def _properties(self, call: Call, record: Record) -> Body:
        """What lists show of a share. Old accounts and old api-versions know nothing of tiers that
        change, and of leases.
        """
        body, owner = record.body, self.store.get(ids.resource_id(record.id))
        properties: Body = {}
        if call.version >= "2020-08":
            lease = leases.describe(self.store, record.key)
            properties |= (
                {"leaseStatus": "unlocked", "leaseState": "broken"} if "deleted" in body else lease
            )
        if "deleted" in body:
            when = (
                _second(body["deleted"])
                if call.version >= "2020-08"
                else clock.http(body["deleted"])
            )
            properties |= {"version": body["version"], "deleted": True, "deletedTime": when}
            properties["remainingRetentionDays"] = share_copies.remaining_days(record)
        if "snapshot" in body:
            properties["snapshotTime"] = body["snapshot"]
        tiered = owner is not None and owner.body["kind"] != "Storage"
        listed = call.target.route.endswith("/shares")
        properties |= {"accessTier": body["accessTier"]} if tiered or listed else {}
        properties |= (
            {"accessTierChangeTime": _second(body["created"])}
            if tiered and call.version >= "2020-08"
            else {}
        )
        properties |= {
            "lastModifiedTime": _second(body["modified"]),
            "shareQuota": body["shareQuota"],
        }
        properties["enabledProtocols"] = body.get("enabledProtocols", "SMB")
        return {
            **properties,
            **(
                {"rootSquash": body.get("rootSquash", "NoRootSquash")}
                if body.get("enabledProtocols") == "NFS"
                else {}
            ),
        }


def _sent(body: Body) -> Body:
    """The properties that the type has; others are ignored and no answer shows them."""
    return dict(known_fields(_SHARE, body).get("properties") or {})


def policies(record: Record) -> list[Body]:
    """The stored access policies, which the data plane writes too."""
    return [
        {
            "id": identifier,
            "accessPolicy": {_POLICY[field]: value for field, value in policy.items()},
        }
        for identifier, policy in record.body.get("policies", {}).items()
    ]


def _read_policies(sent: list[Body]) -> Body:
    if len(sent) > 5:
        raise bad_request(
            "InvalidRequestPropertyValue", "A share may have at most five stored access policies."
        )
    return {
        str(entry.get("id")): {
            field: entry["accessPolicy"][name]
            for field, name in _POLICY.items()
            if (entry.get("accessPolicy") or {}).get(name)
        }
        for entry in sent
    }


def _expanded(call: Call) -> set[str]:
    return {part.strip().lower() for part in call.query.get("$expand", "").split(",")}


def _second(epoch: float) -> str:
    return f"{clock.moment(epoch):%Y-%m-%dT%H:%M:%S}.0000000Z"


def _seconds(sent: object) -> int:
    """How long a lease lasts; without an end when nothing was sent."""
    if sent is None:
        return -1
    if not re.fullmatch(r"-?\d{1,9}", str(sent)):
        text = f"The value '{sent}' is not allowed for property leaseDuration."
        raise bad_request("InvalidRequestPropertyValue", text)
    return int(str(sent))


def _named(identifier: str) -> Body:
    return {"id": identifier, "name": identifier.rsplit("/", 1)[-1], "type": TYPE}


_BASE = "microsoft.storage/storageaccounts/{}/fileservices/{}/shares"
