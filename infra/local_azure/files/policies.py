"""Stored access policies of a share, up to five: what `sas` lets a signature refer to. Kept in the
share's ARM record.
"""

from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from infra.local_azure.store import Record

from . import leases, shares
from .answer import FilesAnswer
from .errors import FilesError
from .request import FilesRequest

_FIELDS = {"st": "Start", "se": "Expiry", "sp": "Permission"}
_MOST = 64 * 1024


def of(record: Record | None) -> dict[str, dict[str, str]]:
    """A share's policies by identifier, each with some of st, se and sp."""
    found: dict[str, dict[str, str]] = record.body.get("policies", {}) if record else {}
    return found


async def get(request: FilesRequest) -> FilesAnswer:
    record = shares.find(request)
    entries = "".join(_entry(identifier, policy) for identifier, policy in of(record).items())
    inner = (
        f"<SignedIdentifiers>{entries}</SignedIdentifiers>" if entries else "<SignedIdentifiers />"
    )
    body = f'<?xml version="1.0" encoding="utf-8"?>{inner}'.encode()
    return FilesAnswer(200, {**shares.changed(record), "Content-Type": "application/xml"}, body)


async def put(request: FilesRequest) -> FilesAnswer:
    """Replace all policies. A signature that refers to a removed policy stops working."""
    record = shares.find(request)
    leases.require(request.store, record.key, request.headers.get("x-ms-lease-id"))
    length = request.number("Content-Length", 0)
    if length > _MOST:
        raise FilesError(
            413,
            "RequestBodyTooLarge",
            "The request body is too large and exceeds the maximum permissible limit.",
        )
    record.body["policies"] = _read(await request.content(length))
    shares.touch(record)
    request.store.put(record)
    return FilesAnswer(200, shares.changed(record))


def _read(body: bytes) -> dict[str, dict[str, str]]:
    try:
        root = ET.fromstring(body) if body.strip() else ET.Element("SignedIdentifiers")  # noqa: S314 - bounded
    except ET.ParseError:
        raise FilesError(
            400, "InvalidXmlDocument", "XML specified is not syntactically valid."
        ) from None
    found: dict[str, dict[str, str]] = {}
    for entry in root.iter("SignedIdentifier"):
        identifier = entry.findtext("Id", "")
        policy = {
            field: entry.findtext(f"AccessPolicy/{name}", "") for field, name in _FIELDS.items()
        }
        found[identifier] = {
            field: _full(value) if field != "sp" else value
            for field, value in policy.items()
            if value
        }
        if not 1 <= len(identifier) <= 64:
            raise _invalid("Id", identifier)
    if len(found) > 5:
        raise _invalid("SignedIdentifiers", f"{len(found)} of them")
    return found


def _full(instant: str) -> str:
    """Azure gives every instant back with seven digits."""
    return (
        instant.removesuffix("Z") + ".0000000Z"
        if instant.endswith("Z") and "." not in instant
        else instant
    )


def _invalid(name: str, value: str) -> FilesError:
    return FilesError(
        400,
        "InvalidXmlNodeValue",
        f"The value for one of the XML nodes is not in the correct format: {name} '{value}'.",
    )


def _entry(identifier: str, policy: dict[str, str]) -> str:
    inner = "".join(
        f"<{name}>{escape(policy[field])}</{name}>"
        for field, name in _FIELDS.items()
        if field in policy
    )
    shown = f"<AccessPolicy>{inner}</AccessPolicy>" if inner else "<AccessPolicy />"
    return f"<SignedIdentifier><Id>{escape(identifier)}</Id>{shown}</SignedIdentifier>"
