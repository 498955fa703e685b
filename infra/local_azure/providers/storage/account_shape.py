"""A storage account's document: what Azure fills in by kind, SKU and api-version, and how each
api-version shows it.
"""

import re
from typing import Any

from infra.local_azure import clock, regions
from infra.local_azure.arm.call import Call
from infra.local_azure.arm.errors import bad_request
from infra.local_azure.arm.merge import merge
from infra.local_azure.store import Record

Body = dict[str, Any]
TYPE = "Microsoft.Storage/storageAccounts"
_ENDPOINTS = {
    "StorageV2": ("dfs", "web", "blob", "queue", "table", "file"),
    "Storage": ("blob", "queue", "table", "file"),
    "BlobStorage": ("dfs", "blob", "table"),
    "BlockBlobStorage": ("dfs", "web", "blob"),
    "FileStorage": ("file",),
}
_TIERED = {"StorageV2", "BlobStorage"}
_PREMIUM = {"BlockBlobStorage", "FileStorage"}
_WRITABLE = (
    "accessTier",
    "allowBlobPublicAccess",
    "allowCrossTenantReplication",
    "allowSharedKeyAccess",
    "allowedCopyScope",
    "azureFilesIdentityBasedAuthentication",
    "customDomain",
    "defaultToOAuthAuthentication",
    "dnsEndpointType",
    "enableExtendedGroups",
    "encryption",
    "immutableStorageWithVersioning",
    "isHnsEnabled",
    "isLocalUserEnabled",
    "isNfsV3Enabled",
    "isSftpEnabled",
    "keyPolicy",
    "largeFileSharesState",
    "minimumTlsVersion",
    "networkAcls",
    "publicNetworkAccess",
    "routingPreference",
    "sasPolicy",
    "supportsHttpsTrafficOnly",
)
_FIXED = ("isHnsEnabled", "isNfsV3Enabled", "dnsEndpointType")
# The values that a field may have. The refusal of any other value names the field.
_WORDS = {
    "accessTier": ("Hot", "Cool", "Cold", "Premium"),
    "minimumTlsVersion": ("TLS1_0", "TLS1_1", "TLS1_2", "TLS1_3"),
    "publicNetworkAccess": ("Enabled", "Disabled", "SecuredByPerimeter"),
    "largeFileSharesState": ("Enabled", "Disabled"),
}


def check(sku: Any, kind: Any, sent: Body) -> None:
    """What Azure refuses in an account's settings, by the name of the field."""
    if kind not in _ENDPOINTS:
        raise _not_allowed(kind, "kind")
    if not re.fullmatch(
        r"(Standard|Premium|StandardV2|PremiumV2)_(LRS|ZRS|GRS|GZRS|RAGRS|RAGZRS)", str(sku)
    ):
        raise _not_allowed(sku, "sku.name")
    premium = str(sku).startswith("Premium") or (
        str(sku).startswith("StandardV2") and kind == "FileStorage"
    )
    if (kind in _PREMIUM) is not premium and not (
        kind == "StorageV2" and sku in {"Premium_LRS", "Premium_ZRS"}
    ):
        raise _invalid("kind" if premium else "sku")
    for name, words in _WORDS.items():
        if sent.get(name) is not None and sent[name] not in words:
            raise _not_allowed(sent[name], name)
    days = (sent.get("keyPolicy") or {}).get("keyExpirationPeriodInDays")
    if sent.get("keyPolicy") is not None and not (isinstance(days, int) and days >= 0):
        raise _invalid("keyPolicy.keyExpirationPeriodInDays")
    action = (sent.get("networkAcls") or {}).get("defaultAction")
    if action not in {None, "Allow", "Deny"}:
        raise _not_allowed(action, "networkAcls.defaultAction")


def fresh(call: Call, body: Body, place: str) -> Body:
    """The properties of a new account."""
    now, version = clock.zulu(), call.version
    # "The default interpretation is TLS 1.0" says each version up to 2023-05-01 of the published
    # description.
    tls = "TLS1_0" if version <= "2023-05-01" else "TLS1_2"
    properties: Body = {
        "keyCreationTime": {"key1": now, "key2": now},
        "allowCrossTenantReplication": False,
        "privateEndpointConnections": [],
        "minimumTlsVersion": tls,
        "allowBlobPublicAccess": "2022" <= version < "2023",
        "networkAcls": {},
        "supportsHttpsTrafficOnly": True,
        "encryption": {},
        "provisioningState": "Creating",
        "creationTime": now,
        "primaryLocation": place,
        "statusOfPrimary": "available",
    }
    return settled(properties, body.get("properties") or {}, str(body["kind"]))


def settled(before: Body, sent: Body, kind: str) -> Body:
    """The properties after a write: objects are merged, lists replaced, and Azure's defaults filled
    in.
    """
    known = {name: sent[name] for name in _WRITABLE if sent.get(name) is not None}
    if wrong := [
        name for name in _FIXED if name in known and name in before and known[name] != before[name]
    ]:
        text = f"The property '{wrong[0]}' was specified in the input, but it cannot be updated."
        raise bad_request("AccountPropertyCannotBeUpdated", text)
    after: Body = merge(before, known)
    after["networkAcls"] = _network(after["networkAcls"])
    after["encryption"] = _encryption(after["encryption"])
    if kind in _TIERED:
        after.setdefault("accessTier", "Hot")
    return after


def sku(name: str) -> Body:
    return {"name": name, "tier": name.split("_", 1)[0].removesuffix("V2")}


def view(call: Call, record: Record) -> Body:
    """The file endpoint is this server; the other services have addresses, as every account's do,
    but nobody answers there.
    """
    body, kind, name = record.body, record.body["kind"], record.name
    properties = {**body["properties"], "primaryEndpoints": _endpoints(call.base, name, kind)}
    if call.version < "2022":
        _hide(record, properties, "minimumTlsVersion", "allowBlobPublicAccess")
    if call.version < "2023":
        _hide(record, properties, "allowCrossTenantReplication")
        properties["networkAcls"] = {
            key: value for key, value in properties["networkAcls"].items() if key != "ipv6Rules"
        }
    redundancy = body["sku"]["name"].split("_", 1)[1]
    if "G" in redundancy:
        properties |= {
            "secondaryLocation": regions.pair(body["location"]),
            "statusOfSecondary": "available",
        }
    if redundancy.startswith("RA"):
        there = _endpoints(call.base, f"{name}-secondary", kind)
        properties["secondaryEndpoints"] = {
            service: url for service, url in there.items() if service != "file"
        }
    return {**body, "id": record.id, "name": name, "type": TYPE, "properties": properties}


def has_files(kind: str) -> bool:
    return "file" in _ENDPOINTS[kind]


def _hide(record: Record, properties: Body, *names: str) -> None:
    """Older api-versions show these only when somebody set them."""
    for name in names:
        if name not in record.private.get("set", ()):
            properties.pop(name, None)


def _endpoints(base: str, account: str, kind: str) -> Body:
    return {
        name: f"{base}/{account}/" if name == "file" else f"{base}/{account}-{name}/"
        for name in _ENDPOINTS[kind]
    }


def _network(rules: Body) -> Body:
    networks = [
        {"action": "Allow", **rule, "state": "Succeeded"}
        for rule in rules.get("virtualNetworkRules") or []
    ]
    defaults = {"ipv6Rules": [], "bypass": "AzureServices", "defaultAction": "Allow"}
    addresses = [{"action": "Allow", **rule} for rule in rules.get("ipRules") or []]
    return {**defaults, **rules, "virtualNetworkRules": networks, "ipRules": addresses}


def _encryption(sent: Body) -> Body:
    """Blobs and files are always encrypted; queues and tables are listed when somebody chose their
    kind of key.
    """
    services, given = {}, sent.get("services") or {}
    for name in ("file", "blob", *(name for name in ("queue", "table") if given.get(name))):
        known = given.get(name) or {}
        when = known.get("lastEnabledTime") or clock.zulu()
        services[name] = {
            "keyType": known.get("keyType") or "Account",
            "enabled": True,
            "lastEnabledTime": when,
        }
    return {"keySource": "Microsoft.Storage", **sent, "services": services}


def _not_allowed(value: Any, name: str) -> Exception:
    return bad_request(
        "InvalidRequestPropertyValue", f"The value '{value}' is not allowed for property {name}."
    )


def _invalid(name: str) -> Exception:
    return bad_request(
        "InvalidValuesForRequestParameters", f"Values for request parameters are invalid: {name}."
    )
