"""Shares over the data plane: the same records ARM shows, their leases, and the list of an
account's shares.
"""

import asyncio
from xml.sax.saxutils import escape, quoteattr

from infra.local_azure import clock
from infra.local_azure.arm.errors import ArmError
from infra.local_azure.store import Record

from . import leases, share_records, usage
from .answer import FilesAnswer
from .errors import FilesError
from .request import FilesRequest
from .share_copies import SHARE


async def create(request: FilesRequest) -> FilesAnswer:
    if request.store.get(request.share_key) is not None:
        raise FilesError(409, "ShareAlreadyExists", "The specified share already exists.")
    try:
        record = request.plane.shares.create(request.account, request.share)
        _settle(request, record)
    except ArmError as refused:
        raise FilesError(refused.status, refused.code, refused.message) from None
    request.store.put(record)
    return FilesAnswer(201, changed(record))


async def get(request: FilesRequest) -> FilesAnswer:
    record = find(request)
    headers = {
        **changed(record),
        "x-ms-share-quota": str(record.body["shareQuota"]),
        "x-ms-access-tier": record.body["accessTier"],
        "x-ms-access-tier-change-time": clock.http(record.body["created"]),
        "x-ms-enabled-protocols": "SMB",
        "x-ms-has-immutability-policy": "false",
        "x-ms-has-legal-hold": "false",
        **leases.shown(request.store, record.key),
        **{f"x-ms-meta-{name}": value for name, value in record.body.get("metadata", {}).items()},
    }
    return FilesAnswer(200, headers)


async def delete(request: FilesRequest) -> FilesAnswer:
    record = find(request)
    leases.require(request.store, record.key, request.headers.get("x-ms-lease-id"))
    request.plane.shares.remove(record)
    return FilesAnswer(202)


async def set_metadata(request: FilesRequest) -> FilesAnswer:
    record = find(request)
    leases.require(request.store, record.key, request.headers.get("x-ms-lease-id"))
    share_records.settle(record, request.account, metadata=dict(request.metadata()))
    request.store.put(record)
    return FilesAnswer(200, changed(record))


async def set_properties(request: FilesRequest) -> FilesAnswer:
    record = find(request)
    leases.require(request.store, record.key, request.headers.get("x-ms-lease-id"))
    try:
        _settle(request, record)
    except ArmError as refused:
        raise FilesError(refused.status, "InvalidHeaderValue", refused.message) from None
    request.store.put(record)
    return FilesAnswer(200, changed(record))


async def statistics(request: FilesRequest) -> FilesAnswer:
    """How many bytes the share holds."""
    used = await asyncio.to_thread(usage.measure, request.root)
    body = (
        '<?xml version="1.0"'
        f' encoding="utf-8"?><ShareStats><ShareUsageBytes>{used}</ShareUsageBytes></ShareStats>'
    )
    return FilesAnswer(
        200, {**changed(find(request)), "Content-Type": "application/xml"}, body.encode()
    )


async def lease(request: FilesRequest) -> FilesAnswer:
    """A lease of 15 to 60 seconds, or without an end."""
    record = find(request)
    headers = changed(record)
    return leases.answer(request.store, record.key, request.headers, headers)


async def listing(request: FilesRequest) -> FilesAnswer:
    """The shares of the account, with prefix and pages."""
    prefix, marker = request.query.get("prefix", ""), request.query.get("marker", "")
    size = request.page_size(5000)
    wanted = request.query.get("include", "").lower()
    found = request.store.each(SHARE, request.account.id)
    records = sorted(
        (r for r in found if r.name.startswith(prefix) and r.name >= marker),
        key=lambda record: record.name,
    )
    entries = "".join(
        _entry(request, record, metadata="metadata" in wanted) for record in records[:size]
    )
    following = records[size].name if len(records) > size else ""
    begins = f"<Prefix>{escape(prefix)}</Prefix>" if prefix else ""
    sizes = f"<MaxResults>{size}</MaxResults>" if "maxresults" in request.query else ""
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        "<EnumerationResults"
        f" ServiceEndpoint={quoteattr(f'{request.base}/{request.account.name}/')}>"
        f"{begins}{sizes}<Shares>{entries}</Shares>"
        f"<NextMarker>{escape(following)}</NextMarker></EnumerationResults>"
    )
    return FilesAnswer(200, {"Content-Type": "application/xml"}, body.encode())


def find(request: FilesRequest) -> Record:
    """The share's record; ShareNotFound when there is none."""
    record = request.store.get(request.share_key)
    if record is None:
        raise FilesError(404, "ShareNotFound", "The specified share does not exist.")
    return record


def _settle(request: FilesRequest, record: Record) -> None:
    quota = request.headers.get("x-ms-share-quota")
    tier, metadata = request.headers.get("x-ms-access-tier"), request.metadata()
    number = int(quota) if quota and quota.isdigit() else quota
    share_records.settle(
        record, request.account, quota=number, metadata=dict(metadata) or None, tier=tier
    )


def touch(record: Record) -> None:
    """Record a change of the share that does not write its settings."""
    record.body["modified"] = clock.now()
    record.body["etag"] = share_records.new_etag()


def changed(record: Record) -> dict[str, str]:
    """The headers of the answer to every write of a share."""
    return {"ETag": record.body["etag"], "Last-Modified": clock.http(record.body["modified"])}


def _entry(request: FilesRequest, record: Record, *, metadata: bool) -> str:
    lease = leases.describe(request.store, record.key)
    inner = (
        f"<Last-Modified>{clock.http(record.body['modified'])}</Last-Modified><Etag>{escape(record.body['etag'])}</Etag>"
        f"<Quota>{record.body['shareQuota']}</Quota><AccessTier>{record.body['accessTier']}</AccessTier>"
        f"<AccessTierChangeTime>{clock.http(record.body['created'])}</AccessTierChangeTime>"
        f"<LeaseStatus>{lease['leaseStatus']}</LeaseStatus><LeaseState>{lease['leaseState']}</LeaseState>"
        "<EnabledProtocols>SMB</EnabledProtocols><DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"
        "<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>"
    )
    known = record.body.get("metadata", {}) if metadata else {}
    extra = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in known.items())
    extra = f"<Metadata>{extra}</Metadata>" if extra else ""
    return (
        f"<Share><Name>{escape(record.name)}</Name><Properties>{inner}</Properties>{extra}</Share>"
    )
