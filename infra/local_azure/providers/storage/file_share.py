"""File shares as ARM shows them. The data plane (`files`) reads and writes the same records; copies
are in `share_copies`.
"""

import asyncio
import re
import uuid

from infra.local_azure import clock
from infra.local_azure.arm import shapes
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import ArmError, bad_request, conflict
from infra.local_azure.arm.paging import page
from infra.local_azure.azure import Azure
from infra.local_azure.files import leases, tree, usage
from infra.local_azure.files.errors import FilesError
from infra.local_azure.providers.tracked import Body
from infra.local_azure.store import Record

from . import file_service, share_copies
from .file_service import account

TYPE = "Microsoft.Storage/storageAccounts/fileServices/shares"
KIND = TYPE.lower()
_NAME = re.compile(r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]")
_SNAPSHOT_HEADER = "x-ms-snapshot"
_POLICY = {"st": "startTime", "se": "expiryTime", "sp": "permission"}


async def put(call: Call) -> Reply:
    """Create or change a share, or with `$expand=snapshots` make a snapshot of it. The answer
    echoes what was sent.
    """
    owner, body = account(call, 2), call.body if isinstance(call.body, dict) else {}
    known, sent = call.azure.store.get(call.target.key), _sent(body)
    echo = {"properties": sent} if "properties" in body or call.version >= "2023-05-01" else {}
    if "snapshots" in _expanded(call):
        made = await share_copies.snapshot(call.azure, _share(call), sent.get("metadata"))
        shown = {
            **_named(_share(call).id),
            "properties": {**sent, "snapshotTime": made.body["snapshot"]},
        }
        return Reply(201, shown)
    record = known or create(call.azure, owner, call.target.name)
    _write(call, record, owner, sent)
    return Reply(
        200 if known else 201, {**_named(record.id), **echo}, {"ETag": record.body["etag"]}
    )


def _sent(body: Body) -> Body:
    """The properties that the type has: others are read over, and no answer shows them."""
    return dict(shapes.known(shapes.SHARE, body).get("properties") or {})


async def get(call: Call) -> Reply:
    record = share = _share(call)
    if stamp := call.headers.get(_SNAPSHOT_HEADER):
        record = share_copies.find_snapshot(call.azure, share, stamp)
    properties = _properties(call, record)
    properties |= {"signedIdentifiers": policies(share)}
    if record.body.get("metadata"):
        properties["metadata"] = record.body["metadata"]
    if share.body.get("enabledProtocols", "SMB") == "SMB":
        del properties["enabledProtocols"]
    if "stats" in _expanded(call):
        folder = tree.ensure(call.azure.options, share.id.split("/")[8], share.name)
        properties["shareUsageBytes"] = await asyncio.to_thread(usage.measure, folder)
    etag = record.body["etag"]
    return Reply(200, {**_named(share.id), "etag": etag, "properties": properties}, {"ETag": etag})


def patch(call: Call) -> Reply:
    """Metadata is replaced, never merged."""
    record, sent = _share(call), _sent(call.document())
    _write(call, record, account(call, 2), sent)
    return Reply(200, {**_named(record.id), "properties": sent}, {"ETag": record.body["etag"]})


def delete(call: Call) -> Reply:
    """One snapshot, or the share; snapshots keep it unless `$include` takes them along."""
    owner = account(call, 2)
    record = call.azure.store.get(call.target.key)
    if record is None:
        return Reply(204)
    if stamp := call.headers.get(_SNAPSHOT_HEADER):
        share_copies.drop_snapshot(
            call.azure, share_copies.find_snapshot(call.azure, record, stamp)
        )
        return Reply(200)
    included = call.query.get("$include", "none").lower()
    if included == "none" and share_copies.snapshots(call.azure, record):
        raise conflict(
            "ShareHasSnapshots", "The share has snapshots and the operation requires no snapshots."
        )
    if included != "leased-snapshots" and leases.active(call.azure.store, record.key):
        raise conflict(
            "LeaseIdMissing",
            "There is currently a lease on the file share and no lease ID was specified in the"
            " request.",
        )
    share_copies.bury(call.azure, record, file_service.retention_days(call.azure.store, owner))
    return Reply(200)


def listing(call: Call) -> Reply:
    """In the order of their names; snapshots before their share, deleted ones only when asked for,
    metadata never.
    """
    owner, wanted, azure = account(call, 2), _expanded(call), call.azure
    match = re.fullmatch(r"startswith\(name,\s*'?([^')]*)'?\)", call.query.get("$filter", ""))
    entries = []
    for share in azure.store.each(KIND, owner.id):
        copies = share_copies.snapshots(azure, share) if "snapshots" in wanted else []
        entries += [
            (share.name, _entry(call, share.id, share.name, record)) for record in (*copies, share)
        ]
    for grave in share_copies.buried(azure, owner) if "deleted" in wanted else []:
        entries.append((grave.body["name"], _entry(call, grave.id, grave.body["name"], grave)))
    entries.sort(key=lambda entry: entry[0])
    return page(call, [shown for name, shown in entries if not match or name.startswith(match[1])])


def restore(call: Call) -> Reply:
    """Have a deleted share back, which is named by its version."""
    owner, body = account(call, 3), call.document()
    record = share_copies.revive(
        call.azure,
        owner,
        str(body.get("deletedShareName") or ""),
        str(body.get("deletedShareVersion") or ""),
    )
    record.body |= {"modified": clock.now(), "etag": new_etag()}
    call.azure.store.put(record)
    return Reply(200)


def lease(call: Call) -> Reply:
    """The lease operations of the data plane, as one POST."""
    account(call, 3)
    record, body, store = (
        _found(call, call.target.key.rsplit("/", 1)[0]),
        call.document(),
        call.azure.store,
    )
    action, identifier = str(body.get("action") or ""), str(body.get("leaseId") or "")
    try:
        match action.lower():
            case "acquire":
                held = leases.acquire(
                    store,
                    record.key,
                    int(body.get("leaseDuration") or -1),
                    body.get("proposedLeaseId"),
                )
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
        "InvalidRequestPropertyValue", f"The value '{action}' is not allowed for property action."
    )


def create(azure: Azure, owner: Record, name: str) -> Record:
    """A new share's record and its directory; the caller stores it. Used by the data plane too."""
    if not _NAME.fullmatch(name):
        text = (
            "The specifed resource name contains invalid characters."
            if 3 <= len(name) <= 63
            else "The specified resource name length is not within the permissible limits."
        )
        raise bad_request(
            "InvalidResourceName" if 3 <= len(name) <= 63 else "OutOfRangeInput", text
        )
    tree.ensure(azure.options, owner.name, name)
    azure.composition.changed()  # a replica that had the share of this name mounts it again
    return Record(f"{owner.id}/fileServices/default/shares/{name}", KIND, {"created": clock.now()})


def settle(
    record: Record,
    owner: Record,
    *,
    quota: object = None,
    metadata: Body | None = None,
    tier: str | None = None,
    default: int | None = None,
) -> None:
    """Apply a write's settings and give the share a new etag. `default` is the quota of a share
    that names none.
    """
    most = 102400
    if quota is not None and (
        isinstance(quota, bool) or not isinstance(quota, int) or not 1 <= quota <= most
    ):
        raise bad_request(
            "InvalidRequestPropertyValue",
            f"The value '{quota}' is not allowed for property shareQuota.",
        )
    premium = owner.body["kind"] == "FileStorage"
    if tier is not None and tier not in (
        {"Premium"} if premium else {"TransactionOptimized", "Hot", "Cool"}
    ):
        raise bad_request(
            "InvalidRequestPropertyValue",
            f"The value '{tier}' is not allowed for property accessTier.",
        )
    body = record.body
    large = premium or owner.body["properties"].get("largeFileSharesState") == "Enabled"
    body["shareQuota"] = quota or body.get("shareQuota") or (most if large else default or most)
    body["accessTier"] = (
        tier or body.get("accessTier") or ("Premium" if premium else "TransactionOptimized")
    )
    if metadata is not None:
        body["metadata"] = {str(key): str(value) for key, value in metadata.items()}
    body["modified"] = clock.now()
    body["etag"] = new_etag()


def new_etag() -> str:
    return f'"0x{uuid.uuid4().hex[:15].upper()}"'


def remove(azure: Azure, record: Record) -> None:
    """What the data plane does with a share that nobody leases."""
    owner = azure.store.get("/".join(record.id.split("/")[:9]))
    share_copies.bury(
        azure, record, file_service.retention_days(azure.store, owner) if owner else 0
    )


def policies(record: Record) -> list[Body]:
    """The stored access policies, which the data plane writes too."""
    return [
        {
            "id": identifier,
            "accessPolicy": {_POLICY[field]: value for field, value in policy.items()},
        }
        for identifier, policy in record.body.get("policies", {}).items()
    ]


def _write(call: Call, record: Record, owner: Record, sent: Body) -> None:
    """Before 2023-05-01 a standard account's shares held 5 TiB; since then all accounts are made
    for large ones.
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
    settle(record, owner, **settings, default=default)
    record.body |= {
        name: sent[name] for name in ("enabledProtocols", "rootSquash") if sent.get(name)
    }
    if sent.get("signedIdentifiers") is not None:
        record.body["policies"] = _read_policies(sent["signedIdentifiers"])
    call.azure.store.put(record)


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


def _share(call: Call) -> Record:
    account(call, 2)
    return _found(call, call.target.key)


def _found(call: Call, key: str) -> Record:
    record = call.azure.store.get(key)
    if record is None:
        raise ArmError(404, "ShareNotFound", "The specified share does not exist.")
    return record


def _expanded(call: Call) -> set[str]:
    return {part.strip().lower() for part in call.query.get("$expand", "").split(",")}


def _entry(call: Call, identifier: str, name: str, record: Record) -> Body:
    properties = _properties(call, record)
    if "snapshot" in record.body:
        properties.pop("accessTierChangeTime", None)
    return {
        **_named(identifier),
        "name": name,
        "etag": record.body["etag"],
        "properties": properties,
    }


def _properties(call: Call, record: Record) -> Body:
    """What lists show of a share. Old accounts and old api-versions know nothing of tiers that
    change, and of leases.
    """
    body, owner = record.body, call.azure.store.get("/".join(record.id.split("/")[:9]))
    properties: Body = {}
    if call.version >= "2020-08":
        lease = leases.describe(call.azure.store, record.key)
        properties |= (
            {"leaseStatus": "unlocked", "leaseState": "broken"} if "deleted" in body else lease
        )
    if "deleted" in body:
        when = (
            _second(body["deleted"]) if call.version >= "2020-08" else clock.http(body["deleted"])
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
    properties |= {"lastModifiedTime": _second(body["modified"]), "shareQuota": body["shareQuota"]}
    properties["enabledProtocols"] = body.get("enabledProtocols", "SMB")
    return {
        **properties,
        **({"rootSquash": body["rootSquash"]} if body.get("enabledProtocols") == "NFS" else {}),
    }


def _second(epoch: float) -> str:
    return f"{clock.moment(epoch):%Y-%m-%dT%H:%M:%S}.0000000Z"


def _named(identifier: str) -> Body:
    return {"id": identifier, "name": identifier.rsplit("/", 1)[-1], "type": TYPE}


_BASE = "microsoft.storage/storageaccounts/{}/fileservices/{}/shares"
ROUTES: dict[str, Handler] = {
    f"get {_BASE}": listing,
    f"put {_BASE}/{{}}": put,
    f"get {_BASE}/{{}}": get,
    f"patch {_BASE}/{{}}": patch,
    f"delete {_BASE}/{{}}": delete,
    f"post {_BASE}/{{}}/restore": restore,
    f"post {_BASE}/{{}}/lease": lease,
}
