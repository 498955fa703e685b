"""What was there before the recording began: put there by real requests, built from what the
recording shows of it.
"""

import copy
from collections.abc import Iterator
from typing import Any

from . import scope
from .recordings import Exchange, Recording

_GROUP = 1
_READ_ONLY = {
    *(
        "id",
        "name",
        "type",
        "systemData",
        "provisioningState",
        "etag",
        "defaultDomain",
        "staticIp",
        "eventStreamEndpoint",
    ),
    *(
        "kedaConfiguration",
        "daprConfiguration",
        "customDomainConfiguration",
        "runningStatus",
        "latestRevisionName",
    ),
    *(
        "latestReadyRevisionName",
        "latestRevisionFqdn",
        "outboundIpAddresses",
        "customDomainVerificationId",
        "fqdn",
    ),
    *(
        "creationTime",
        "primaryEndpoints",
        "primaryLocation",
        "secondaryLocation",
        "statusOfPrimary",
        "statusOfSecondary",
    ),
    *(
        "keyCreationTime",
        "privateEndpointConnections",
        "secondaryEndpoints",
        "customerId",
        "createdDate",
        "modifiedDate",
    ),
    *(
        "delegatedIdentities",
        "managedEnvironmentId",
        "deploymentErrors",
        "principalId",
        "tenantId",
        "clientId",
        "ephemeralStorage",
    ),
    *(
        "lastModifiedTime",
        "leaseStatus",
        "leaseState",
        "accessTierChangeTime",
        "infrastructureResourceGroup",
    ),
}
VERSIONS = {
    "microsoft.resources": "2021-04-01",
    "microsoft.app": "2024-03-01",
    "microsoft.managedidentity": "2023-01-31",
    "microsoft.storage": "2023-05-01",
    "microsoft.operationalinsights": "2023-09-01",
}
_KINDS = {
    "microsoft.managedidentity/userassignedidentities/{}",
    "microsoft.operationalinsights/workspaces/{}",
    "microsoft.storage/storageaccounts/{}",
    "microsoft.storage/storageaccounts/{}/fileservices/{}/shares/{}",
    "microsoft.app/managedenvironments/{}",
    "microsoft.app/managedenvironments/{}/storages/{}",
    "microsoft.app/containerapps/{}",
    "microsoft.app/jobs/{}",
}
LISTED = {"subscriptions/{}/resourcegroups/{}", *_KINDS} - {
    "microsoft.app/managedenvironments/{}/storages/{}"
}
_EXISTED = {
    *("microsoft.storage/storageaccounts/{}", "microsoft.app/managedenvironments/{}"),
    "microsoft.operationalinsights/workspaces/{}",
}


def needed(exchange: Exchange) -> Iterator[str]:
    """The ids that must exist for this exchange to be answered as it was, outermost first."""
    chain = scope.resources(exchange.path)
    if exchange.status == 404:
        code = (
            ((exchange.body or {}).get("error") or {}).get("code")
            if isinstance(exchange.body, dict)
            else None
        )
        keep = chain[:-1] if code and "Parent" not in code and "ResourceGroup" not in code else []
    elif exchange.method == "DELETE" and exchange.status == 204:
        keep = chain[:_GROUP]
    elif exchange.method in {"PUT", "HEAD"} and not existed(exchange):
        keep = chain[:-1] if exchange.method == "PUT" else chain
    else:
        keep = chain
    for key in keep:
        if _is_group(key) or scope.route(key) in _KINDS:
            yield key
    if exchange.succeeded:
        yield from prerequisites(exchange.sent)


def prerequisites(document: Any) -> Iterator[str]:
    """The ids of what a document stands on: an app's environment and identities, and their
    groups.
    """
    if not isinstance(document, dict):
        return
    named = document.get("properties") or {}
    environment = named.get("environmentId") or named.get("managedEnvironmentId")
    identities = (document.get("identity") or {}).get("userAssignedIdentities") or {}
    for one in (*([environment] if environment else []), *identities):
        yield from (
            key for key in scope.resources(one) if _is_group(key) or scope.route(key) in _KINDS
        )


def existed(exchange: Exchange) -> bool:
    """A PUT that was answered as the change of something that is there."""
    kind = scope.route(exchange.path)
    return (
        exchange.method == "PUT"
        and exchange.status == 200
        and (kind in _EXISTED or kind == "subscriptions/{}/resourcegroups/{}")
    )


def document(
    recording: Recording, start: int, key: str, named: Exchange
) -> tuple[dict[str, Any], str]:
    """The body and api-version of the PUT that makes `key` as the recording shows it from `start`
    on.
    """
    kind = scope.route(key)
    for exchange in recording.exchanges[start:]:
        for shown in _documents(exchange.body):
            if str(shown.get("id", "")).lower() == key and exchange.succeeded:
                return _writable(recording, start, key, shown), exchange.query.get(
                    "api-version", ""
                )
    place = _location(recording, named)
    provider = kind.split("/")[0] if not _is_group(key) else "microsoft.resources"
    body: dict[str, Any] = {"location": place}
    if kind == "microsoft.app/managedenvironments/{}":
        body["properties"] = {"workloadProfiles": _profiles(recording, key)}
    elif kind == "microsoft.storage/storageaccounts/{}":
        body |= {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}, **_service(recording, key)}
    elif kind.endswith("/shares/{}"):
        body = {}
    return body, VERSIONS[provider]


def _service(recording: Recording, key: str) -> dict[str, Any]:
    """What an account's file service says of the account: its SKU, and by multichannel that it is
    one for files alone.
    """
    for exchange in recording.exchanges:
        if (
            exchange.path.lower() == f"{key}/fileservices/default"
            and isinstance(exchange.body, dict)
            and "sku" in exchange.body
        ):
            sku = exchange.body["sku"]["name"]
            return {
                "sku": {"name": sku},
                "kind": "FileStorage" if sku.startswith("Premium") else "StorageV2",
            }
    return {}


def _writable(recording: Recording, start: int, key: str, shown: dict[str, Any]) -> dict[str, Any]:
    body = _strip(copy.deepcopy(shown))
    properties = body.get("properties") or {}
    kind = scope.route(key)
    logs = (properties.get("appLogsConfiguration") or {}).get("logAnalyticsConfiguration")
    if logs:
        properties["appLogsConfiguration"]["logAnalyticsConfiguration"] = {
            "customerId": shown["properties"]["appLogsConfiguration"]["logAnalyticsConfiguration"][
                "customerId"
            ],
            "sharedKey": "seeded",
        }
    configuration = properties.get("configuration") or {}
    if configuration.get("secrets"):
        configuration["secrets"] = _secrets(recording, start, key, configuration["secrets"])
    for entry in (configuration.get("ingress") or {}).get("traffic") or []:
        if entry.pop("revisionName", None):
            entry["latestRevision"] = True
    if kind == "microsoft.app/managedenvironments/{}/storages/{}" and "azureFile" in properties:
        properties["azureFile"]["accountKey"] = "seeded"
    return body


def _secrets(
    recording: Recording, start: int, key: str, secrets: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Values that a later listSecrets shows, or some where it does not."""
    for exchange in recording.exchanges[start:]:
        if exchange.path.lower() == f"{key}/listsecrets" and isinstance(exchange.body, dict):
            return list(exchange.body["value"])
    return [{"value": "seeded", **entry} for entry in secrets]


def _strip(value: Any) -> Any:
    """Without what only the server writes. Names of nested objects are theirs, not the
    resource's.
    """
    if isinstance(value, dict):
        return {
            key: _strip(inner)
            for key, inner in value.items()
            if key not in _READ_ONLY or (key in {"name", "type"} and "id" not in value)
        }
    return [_strip(inner) for inner in value] if isinstance(value, list) else value


def _documents(body: Any) -> Iterator[dict[str, Any]]:
    if isinstance(body, dict):
        yield body
        yield from (entry for entry in body.get("value") or [] if isinstance(entry, dict))


def _location(recording: Recording, named: Exchange) -> str:
    """Where the resource that needs it lies, or else anything in this recording."""
    for exchange in (named, *recording.exchanges):
        for side in (exchange.sent, exchange.body):
            if (
                isinstance(side, dict)
                and isinstance(side.get("location"), str)
                and side["location"]
            ):
                return str(side["location"])
    return "eastus"


def _profiles(recording: Recording, environment: str) -> list[dict[str, str]] | None:
    """An app without a profile name tells of an environment without profiles."""
    for exchange in recording.exchanges:
        for shown in _documents(exchange.body):
            properties = shown.get("properties")
            named = properties.get("environmentId") if isinstance(properties, dict) else None
            if (
                isinstance(named, str)
                and named.lower() == environment
                and properties["workloadProfileName"] is None
            ):
                return None
    return [{"name": "Consumption", "workloadProfileType": "Consumption"}]


def _is_group(key: str) -> bool:
    return scope.route(key) == "subscriptions/{}/resourcegroups/{}"
