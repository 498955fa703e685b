"""What the bodies of all located resources share: a region, tags, and why they are Failed."""

from typing import Any

from infra.local_azure import regions
from infra.local_azure.arm.errors import bad_request, conflict
from infra.local_azure.store import Record

Body = dict[str, Any]


def location(body: Body, record: Record | None, kind: str) -> str:
    """The region in normal form. It is required, must be known and cannot change."""
    sent = body.get("location")
    if not sent:
        # An update may leave the region out, a creation may not.
        if record is not None:
            return str(regions.normal(record.body["location"]))
        raise bad_request(
            "LocationRequired", "The location property is required for this definition."
        )
    wanted = regions.normal(str(sent))
    if record is not None and wanted != regions.normal(record.body["location"]):
        there = regions.normal(record.body["location"])
        text = (
            f"The resource '{record.name}' already exists in location '{there}' in resource group"
            f" '{record.group}'. A resource with the same name cannot be created in location"
            f" '{wanted}'. Please select a new resource name."
        )
        raise conflict("InvalidResourceLocation", text)
    if wanted not in regions.REGIONS:
        text = f"The provided location '{sent}' is not available for resource type '{kind}'."
        raise bad_request("LocationNotAvailableForResourceType", text)
    return wanted


def tags(body: Body) -> dict[str, str] | None:
    """The tags of a body, or None when there are none; ARM's limits hold."""
    sent = body.get("tags")
    if not sent:
        return None
    if not isinstance(sent, dict) or any(not isinstance(value, str) for value in sent.values()):
        raise bad_request(
            "InvalidRequestContent", "The tags of a resource must be an object of strings."
        )
    if len(sent) > 50:
        text = (
            f"Number of tags on the resource is '{len(sent)}', which exceeds the maximum of '50'."
        )
        raise bad_request("InvalidTagsCount", text)
    for name, value in sent.items():
        if len(name) > 512 or len(value) > 256 or any(mark in name for mark in "<>%&\\?/"):
            raise bad_request(
                "InvalidTagNameCharacters", f"The tag '{name}' has an invalid name or value."
            )
    return dict(sent)


def failure(record: Record) -> Body:
    """Why the last operation on it did not work; shown while it is Failed."""
    text = record.private.get("deploymentErrors")
    failed = record.body["properties"]["provisioningState"] in {"Failed", "Canceled"}
    return {"deploymentErrors": text} if text and failed else {}
