"""The JSON types of request bodies, checked before a provider reads them, with the refusal of
Azure's deserializer.

A table of types, no rules: those are the providers' business. A null is allowed anywhere, unknown
fields are ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any

from .errors import bad_request

TEXT, WHOLE, NUMBER, TRUTH, ANY = "String", "Int32", "Double", "Boolean", "Object"
_MAP: Any = {"*": TEXT}
_COMMON: Any = {
    "location": TEXT,
    "tags": {"*": ANY},
    "identity": {"type": TEXT, "userAssignedIdentities": {"*": ANY}},
}
_SECRETS: Any = [{"name": TEXT, "value": TEXT, "keyVaultUrl": TEXT, "identity": TEXT}]
_REGISTRIES: Any = [{"server": TEXT, "username": TEXT, "passwordSecretRef": TEXT, "identity": TEXT}]
_HEADERS: Any = [{"name": TEXT, "value": TEXT}]
_PROBE: Any = {
    "type": TEXT,
    "httpGet": {"path": TEXT, "port": WHOLE, "scheme": TEXT, "host": TEXT, "httpHeaders": _HEADERS},
    "tcpSocket": {"port": WHOLE, "host": TEXT},
    **dict.fromkeys(
        (
            "failureThreshold",
            "initialDelaySeconds",
            "periodSeconds",
            "successThreshold",
            "timeoutSeconds",
        ),
        WHOLE,
    ),
    "terminationGracePeriodSeconds": WHOLE,
}
_CONTAINER: Any = {
    "name": TEXT,
    "image": TEXT,
    "command": [TEXT],
    "args": [TEXT],
    "env": [{"name": TEXT, "value": TEXT, "secretRef": TEXT}],
    "resources": {"cpu": NUMBER, "memory": TEXT},
    "probes": [_PROBE],
    "volumeMounts": [{"volumeName": TEXT, "mountPath": TEXT, "subPath": TEXT}],
}
_AUTH: Any = [{"secretRef": TEXT, "triggerParameter": TEXT}]
_RULE: Any = {
    "name": TEXT,
    "http": {"metadata": {"*": ANY}, "auth": _AUTH},
    "tcp": {"metadata": {"*": ANY}, "auth": _AUTH},
    "custom": {"type": TEXT, "metadata": {"*": ANY}, "auth": _AUTH},
    "azureQueue": {"*": ANY},
}
_TEMPLATE: Any = {
    "revisionSuffix": TEXT,
    "terminationGracePeriodSeconds": WHOLE,
    "containers": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "scale": {
        **dict.fromkeys(("minReplicas", "maxReplicas", "cooldownPeriod", "pollingInterval"), WHOLE),
        "rules": [_RULE],
    },
    "volumes": [
        {
            "name": TEXT,
            "storageType": TEXT,
            "storageName": TEXT,
            "mountOptions": TEXT,
            "secrets": [{"*": ANY}],
        }
    ],
    "serviceBinds": [{"*": ANY}],
}
_APP: Any = {
    **_COMMON,
    "properties": {
        "environmentId": TEXT,
        "managedEnvironmentId": TEXT,
        "workloadProfileName": TEXT,
        "configuration": {
            "activeRevisionsMode": TEXT,
            "maxInactiveRevisions": WHOLE,
            "secrets": _SECRETS,
            "registries": _REGISTRIES,
            "ingress": {
                "external": TRUTH,
                "targetPort": WHOLE,
                "exposedPort": WHOLE,
                "transport": TEXT,
                "allowInsecure": TRUTH,
                "traffic": [
                    {"revisionName": TEXT, "weight": WHOLE, "latestRevision": TRUTH, "label": TEXT}
                ],
                "customDomains": [{"*": ANY}],
                "ipSecurityRestrictions": [{"*": ANY}],
                "stickySessions": {"affinity": TEXT},
                "corsPolicy": {"*": ANY},
                "additionalPortMappings": [{"*": ANY}],
            },
            "dapr": {"*": ANY},
            "runtime": {"*": ANY},
            "identitySettings": [{"*": ANY}],
        },
        "template": _TEMPLATE,
    },
}
_COUNTS: Any = {"parallelism": WHOLE, "replicaCompletionCount": WHOLE}
_JOB: Any = {
    **_COMMON,
    "properties": {
        "environmentId": TEXT,
        "workloadProfileName": TEXT,
        "configuration": {
            "triggerType": TEXT,
            "replicaTimeout": WHOLE,
            "replicaRetryLimit": WHOLE,
            "secrets": _SECRETS,
            "registries": _REGISTRIES,
            "manualTriggerConfig": _COUNTS,
            "scheduleTriggerConfig": {**_COUNTS, "cronExpression": TEXT},
            "eventTriggerConfig": {**_COUNTS, "scale": {"*": ANY}},
            "identitySettings": [{"*": ANY}],
        },
        "template": _TEMPLATE,
    },
}
_ENVIRONMENT: Any = {
    **_COMMON,
    "properties": {
        "appLogsConfiguration": {
            "destination": TEXT,
            "logAnalyticsConfiguration": {"customerId": TEXT, "sharedKey": TEXT},
        },
        "vnetConfiguration": {"*": ANY},
        "zoneRedundant": TRUTH,
        "workloadProfiles": [
            {
                "name": TEXT,
                "workloadProfileType": TEXT,
                "minimumCount": WHOLE,
                "maximumCount": WHOLE,
                "enableFips": TRUTH,
            }
        ],
        "infrastructureResourceGroup": TEXT,
        "peerAuthentication": {"mtls": {"enabled": TRUTH}},
        "peerTrafficConfiguration": {"encryption": {"enabled": TRUTH}},
        "publicNetworkAccess": TEXT,
    },
}
_ACCOUNT: Any = {
    **_COMMON,
    "kind": TEXT,
    "sku": {"name": TEXT, "tier": TEXT},
    "properties": {
        "networkAcls": {"*": ANY},
        "accessTier": TEXT,
        "minimumTlsVersion": TEXT,
        "allowSharedKeyAccess": TRUTH,
    },
}
SKU: Any = {"name": TEXT, "capacityReservationLevel": WHOLE}  # of a workspace
_WORKSPACE: Any = {
    **_COMMON,
    "etag": TEXT,
    "properties": {
        "sku": SKU,
        "retentionInDays": WHOLE,
        "workspaceCapping": {"dailyQuotaGb": NUMBER},
        "features": {"*": ANY},
        "publicNetworkAccessForIngestion": TEXT,
        "publicNetworkAccessForQuery": TEXT,
    },
}
SHARE: Any = {
    "properties": {
        "shareQuota": WHOLE,
        "accessTier": TEXT,
        "enabledProtocols": TEXT,
        "rootSquash": TEXT,
        "metadata": _MAP,
        "signedIdentifiers": [
            {
                "id": TEXT,
                "accessPolicy": {"startTime": TEXT, "expiryTime": TEXT, "permission": TEXT},
            }
        ],
    }
}
SHAPES: Mapping[str, Any] = {
    "microsoft.app/containerapps/{}": _APP,
    "microsoft.app/jobs/{}": _JOB,
    "microsoft.app/jobs/{}/start": _TEMPLATE,
    "microsoft.app/managedenvironments/{}": _ENVIRONMENT,
    "microsoft.app/managedenvironments/{}/storages/{}": {
        "properties": {
            "azureFile": {
                "accountName": TEXT,
                "accountKey": TEXT,
                "shareName": TEXT,
                "accessMode": TEXT,
            }
        }
    },
    "microsoft.operationalinsights/workspaces/{}": _WORKSPACE,
    "microsoft.storage/storageaccounts/{}": _ACCOUNT,
    "microsoft.storage/storageaccounts/{}/regeneratekey": {"keyName": TEXT},
    "microsoft.storage/checknameavailability": {"name": TEXT, "type": TEXT},
    "microsoft.storage/storageaccounts/{}/fileservices/{}": {"properties": {"*": ANY}},
    "microsoft.storage/storageaccounts/{}/fileservices/{}/shares/{}": SHARE,
    "microsoft.authorization/locks/{}": {
        "properties": {"level": TEXT, "notes": TEXT, "owners": [{"*": ANY}]}
    },
    "subscriptions/{}/resourcegroups/{}": {**_COMMON, "properties": {"*": ANY}, "managedBy": TEXT},
}
_MOST_WHOLE = 2**31 - 1


def read(route: str, body: Any) -> Any:
    """The body with every scalar of the type that the table says: ArmError 400 when one cannot be.
    `route` is the target's.
    """
    shape = SHAPES.get(route)
    return body if shape is None else _read(shape, body, "")


def known(shape: Any, value: Any) -> Any:
    """`value` without what `shape` does not name."""
    if isinstance(shape, list) and isinstance(value, list):
        return [known(shape[0], each) for each in value]
    if isinstance(shape, dict) and isinstance(value, dict) and "*" not in shape:
        return {name: known(shape[name], each) for name, each in value.items() if name in shape}
    return value


def _read(shape: Any, value: Any, path: str) -> Any:
    if value is None or shape == ANY:
        return value
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(value, "System.Collections.Generic.List", path)
        if None in value:
            raise _wrong(None, "System.Object", f"{path}[{value.index(None)}]")
        return [_read(shape[0], each, f"{path}[{index}]") for index, each in enumerate(value)]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise _wrong(value, "System.Object", path)
        known = {name.lower(): each for name, each in shape.items()}
        rest = shape.get("*", ANY)
        return {
            name: _read(known.get(name.lower(), rest), each, f"{path}.{name}".lstrip("."))
            for name, each in value.items()
        }
    try:
        return _SCALARS[shape](value)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(value, f"System.{shape}", path) from None


def _text(value: Any) -> str:
    """As Azure's deserializer reads scalars: a number may stand where text is wanted, and the other
    way round.
    """
    if isinstance(value, (dict, list)):
        raise TypeError
    return value if isinstance(value, str) else str(value)


def _number(value: Any) -> int | float:
    if isinstance(value, (bool, dict, list)):
        raise TypeError
    number = float(value)
    if not abs(number) <= _MOST_WHOLE:
        raise ValueError
    return int(number) if number.is_integer() else number


def _whole(value: Any) -> int:
    number = _number(value)
    if not isinstance(number, int):
        raise TypeError
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise TypeError
    return value


_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    TEXT: _text,
    WHOLE: _whole,
    NUMBER: _number,
    TRUTH: _truth,
}


def _wrong(value: Any, kind: str, path: str) -> Exception:
    text = f"Error converting value '{str(value)[:40]}' to type '{kind}'. Path '{path}'."
    return bad_request(
        "InvalidRequestContent",
        f"The request content was invalid and could not be deserialized: '{text}'.",
    )
