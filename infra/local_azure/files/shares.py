"""Shares over the data plane: the same records ARM shows, their leases, and the list of an account's shares."""

import os
from xml.sax.saxutils import escape, quoteattr

from infra.local_azure import clock
from infra.local_azure.arm.errors import ArmError
from infra.local_azure.providers import file_share
from infra.local_azure.store import Record

from . import leases
from .errors import FilesError, bad_header
from .request import Answer, Request


async def create(request: Request) -> Answer:
    if request.azure.store.get(request.share_key) is not None:
        raise FilesError(409, "ShareAlreadyExists", "The specified share already exists.")
    try:
        record = file_share.create(request.azure, request.account, request.share)
        _settle(request, record)
    except ArmError as refused:
        raise FilesError(refused.status, refused.code, refused.message) from None
    request.azure.store.put(record)
    return Answer(201, _changed(record))


async def get(request: Request) -> Answer:
    record = _record(request)
    lease = leases.describe(request.azure.store, record.key)
    headers = {
        **_changed(record),
        "x-ms-share-quota": str(record.body["shareQuota"]),
        "x-ms-access-tier": record.body["accessTier"],
        "x-ms-access-tier-change-time": clock.http(record.body["created"]),
        "x-ms-enabled-protocols": "SMB",
        "x-ms-has-immutability-policy": "false",
        "x-ms-has-legal-hold": "false",
        "x-ms-lease-status": lease["leaseStatus"],
        "x-ms-lease-state": lease["leaseState"],
        **({"x-ms-lease-duration": lease["leaseDuration"]} if "leaseDuration" in lease else {}),
        **{f"x-ms-meta-{name}": value for name, value in record.body.get("metadata", {}).items()},
    }
    return Answer(200, headers)


async def delete(request: Request) -> Answer:
    record = _record(request)
    leases.require(request.azure.store, record.key, request.headers.get("x-ms-lease-id"))
    file_share.remove(request.azure, record)
    return Answer(202)


async def set_metadata(request: Request) -> Answer:
    record = _record(request)
    leases.require(request.azure.store, record.key, request.headers.get("x-ms-lease-id"))
    file_share.settle(record, request.account, metadata=dict(request.metadata()))
    request.azure.store.put(record)
    return Answer(200, _changed(record))


async def set_properties(request: Request) -> Answer:
    record = _record(request)
    leases.require(request.azure.store, record.key, request.headers.get("x-ms-lease-id"))
    try:
        _settle(request, record)
    except ArmError as refused:
        raise FilesError(refused.status, "InvalidHeaderValue", refused.message) from None
    request.azure.store.put(record)
    return Answer(200, _changed(record))


async def statistics(request: Request) -> Answer:
    """How many bytes the share holds."""
    used = sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, found in os.walk(request.root) for name in found)  # noqa: PTH118
    body = f'<?xml version="1.0" encoding="utf-8"?><ShareStats><ShareUsageBytes>{used}</ShareUsageBytes></ShareStats>'
    return Answer(200, {**_changed(_record(request)), "Content-Type": "application/xml"}, body.encode())


async def lease(request: Request) -> Answer:
    """acquire, renew, change, release, break."""
    record, store = _record(request), request.azure.store
    action = request.headers.get("x-ms-lease-action", "").lower()
    identifier = request.headers.get("x-ms-lease-id", "")
    if action not in {"acquire", "break"} and not leases.GUID.fullmatch(identifier):
        raise bad_header("x-ms-lease-id")
    headers = _changed(record)
    if action == "acquire":
        held = leases.acquire(
            store, record.key, request.number("x-ms-lease-duration", -1), request.headers.get("x-ms-proposed-lease-id")
        )
        return Answer(201, {**headers, "x-ms-lease-id": held.id})
    if action == "renew":
        return Answer(200, {**headers, "x-ms-lease-id": leases.renew(store, record.key, identifier).id})
    if action == "change":
        proposed = request.headers.get("x-ms-proposed-lease-id", "")
        return Answer(200, {**headers, "x-ms-lease-id": leases.change(store, record.key, identifier, proposed).id})
    if action == "release":
        leases.release(store, record.key, identifier)
        return Answer(200, headers)
    if action == "break":
        period = request.number("x-ms-lease-break-period", -1)
        left = leases.break_(store, record.key, None if period < 0 else period)
        return Answer(202, {**headers, "x-ms-lease-time": str(left)})
    raise bad_header("x-ms-lease-action")


async def listing(request: Request) -> Answer:
    """The shares of the account, with prefix and pages."""
    prefix, marker = request.query.get("prefix", ""), request.query.get("marker", "")
    size = min(int(request.query.get("maxresults") or 5000), 5000)
    wanted = request.query.get("include", "").lower()
    found = request.azure.store.each(file_share.KIND, request.account.id)
    records = sorted((r for r in found if r.name.startswith(prefix) and r.name >= marker), key=lambda record: record.name)
    entries = "".join(_entry(request, record, metadata="metadata" in wanted) for record in records[:size])
    following = records[size].name if len(records) > size else ""
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<EnumerationResults ServiceEndpoint={quoteattr(f'{request.base}/{request.account.name}/')}>"
        f"<Prefix>{escape(prefix)}</Prefix><MaxResults>{size}</MaxResults><Shares>{entries}</Shares>"
        f"<NextMarker>{escape(following)}</NextMarker></EnumerationResults>"
    )
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


def _record(request: Request) -> Record:
    record = request.azure.store.get(request.share_key)
    if record is None:
        raise FilesError(404, "ShareNotFound", "The specified share does not exist.")
    return record


def _settle(request: Request, record: Record) -> None:
    quota = request.headers.get("x-ms-share-quota")
    tier, metadata = request.headers.get("x-ms-access-tier"), request.metadata()
    number = int(quota) if quota and quota.isdigit() else quota
    file_share.settle(record, request.account, quota=number, metadata=dict(metadata) or None, tier=tier)


def _changed(record: Record) -> dict[str, str]:
    return {"ETag": record.body["etag"], "Last-Modified": clock.http(record.body["modified"])}


def _entry(request: Request, record: Record, *, metadata: bool) -> str:
    lease = leases.describe(request.azure.store, record.key)
    inner = (
        f"<Last-Modified>{clock.http(record.body['modified'])}</Last-Modified><Etag>{escape(record.body['etag'])}</Etag>"
        f"<Quota>{record.body['shareQuota']}</Quota><AccessTier>{record.body['accessTier']}</AccessTier>"
        f"<LeaseStatus>{lease['leaseStatus']}</LeaseStatus><LeaseState>{lease['leaseState']}</LeaseState>"
        "<EnabledProtocols>SMB</EnabledProtocols>"
    )
    known = record.body.get("metadata", {}) if metadata else {}
    extra = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in known.items())
    extra = f"<Metadata>{extra}</Metadata>" if extra else ""
    return f"<Share><Name>{escape(record.name)}</Name><Properties>{inner}</Properties>{extra}</Share>"
