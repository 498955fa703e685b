"""The JSON types of what apps and jobs have in common: their template, secrets and registries."""

from typing import Any

from infra.local_azure.arm.body_types import ANY, NUMBER, TEXT, WHOLE

SECRETS: Any = [{"name": TEXT, "value": TEXT, "keyVaultUrl": TEXT, "identity": TEXT}]
REGISTRIES: Any = [{"server": TEXT, "username": TEXT, "passwordSecretRef": TEXT, "identity": TEXT}]
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
    "http": {"metadata": {"*": TEXT}, "auth": _AUTH},
    "tcp": {"metadata": {"*": TEXT}, "auth": _AUTH},
    "custom": {"type": TEXT, "metadata": {"*": TEXT}, "auth": _AUTH},
    "azureQueue": {"*": ANY},
}
TEMPLATE: Any = {
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
