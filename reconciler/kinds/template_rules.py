"""How the templates and configurations that container apps and jobs share are compared: what Azure
adds to them, spells differently, and never returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.engine.rules import Rules
from reconciler.engine.sameness import field_of, is_same
from reconciler.kinds.comparison import with_common

TEMPLATE = "properties.template"
_SCALE, _EVENTS = f"{TEMPLATE}.scale", "properties.configuration.eventTriggerConfig.scale"
_INGRESS = "properties.configuration.ingress"
_JAVA = "properties.configuration.runtime.java.javaAgent.logging"


def _queue(asked: Any, found: Any) -> Any:
    """Azure stores a custom rule of type `azure-queue` as its own kind of rule, with numbers for
    texts. A rule that has both, on one side, was not stored so.
    """
    typed = field_of(found, "azureQueue")
    if not isinstance(typed, Mapping) or not field_of(asked, "custom") or field_of(found, "custom"):
        return found
    if field_of(asked, "azureQueue"):
        return found
    given = {name: typed[name] for name in typed if name.casefold() in ("auth", "identity")}
    metadata = {name: value for name, value in typed.items() if name not in given}
    rest = {name: found[name] for name in found if name.casefold() not in ("azurequeue", "custom")}
    return {**rest, "custom": {"type": "azure-queue", "metadata": metadata, **given}}


def _by_labels(body: Any) -> bool:
    """Whether no traffic is asked for and the mode is one where Azure writes it, by labels."""
    configuration = field_of(body, "properties", "configuration")
    mode = field_of(configuration, "activeRevisionsMode") or "Single"
    plain = any(is_same(mode, each, ignore_case=True) for each in ("Single", "Multiple"))
    return not plain and not field_of(configuration, "ingress", "traffic")


def _of_containers(name: str) -> dict[str, str]:
    containers = f"{TEMPLATE}.{name}"
    return {
        containers: "name",
        f"{containers}.env": "name",
        f"{containers}.probes": "type",
        f"{containers}.probes.httpGet.httpHeaders": "name",
        f"{containers}.volumeMounts": "mountPath",
    }


_LISTS = {
    **_of_containers("containers"),
    **_of_containers("initContainers"),
    f"{TEMPLATE}.volumes": "name",
    f"{TEMPLATE}.volumes.secrets": "secretRef",
    f"{TEMPLATE}.serviceBinds": "name",
    f"{_SCALE}.rules": "name",
    f"{_SCALE}.rules.*.auth": "triggerParameter",
    f"{_EVENTS}.rules": "name",
    f"{_EVENTS}.rules.auth": "triggerParameter",
    f"{_JAVA}.loggerSettings": "logger",
    "properties.configuration.secrets": "name",
    "properties.configuration.registries": "server",
    "properties.configuration.identitySettings": "identity",
    f"{_INGRESS}.traffic": "revisionName|latestRevision",
    f"{_INGRESS}.customDomains": "name",
    f"{_INGRESS}.ipSecurityRestrictions": "name",
    f"{_INGRESS}.additionalPortMappings": "targetPort",
    **{
        f"{_INGRESS}.corsPolicy.{name}": ""
        for name in ("allowedOrigins", "allowedMethods", "allowedHeaders", "exposeHeaders")
    },
}
# Lists without names, whose order means something.
_ORDERED = tuple(
    f"{TEMPLATE}.{containers}.{name}"
    for containers in ("containers", "initContainers")
    for name in ("command", "args")
)
RULES: Rules = with_common(
    lists=_LISTS,
    whole=(*_LISTS, *_ORDERED),
    ignore_case=(
        "properties.workloadProfileName",
        "extendedLocation",
        "properties.configuration.activeRevisionsMode",
        "properties.configuration.triggerType",
        "properties.configuration.registries.server",
        "properties.configuration.identitySettings.lifecycle",
        # `system` or an id; each is an identity in any letters.
        "properties.configuration.registries.identity",
        "properties.configuration.secrets.identity",
        "properties.configuration.identitySettings.identity",
        f"{_SCALE}.rules.*.identity",
        f"{_EVENTS}.rules.identity",
        "properties.configuration.dapr.appProtocol",
        "properties.configuration.dapr.logLevel",
        f"{_INGRESS}.transport",
        f"{_INGRESS}.clientCertificateMode",
        f"{_INGRESS}.stickySessions.affinity",
        f"{_INGRESS}.ipSecurityRestrictions.action",
        f"{_INGRESS}.customDomains.name",
        f"{_INGRESS}.customDomains.bindingType",
        f"{_INGRESS}.targetPortHttpScheme",
        f"{_INGRESS}.corsPolicy.allowedMethods",
        f"{TEMPLATE}.*.imageType",
        "properties.patchingConfiguration.patchingMode",
        f"{_JAVA}.loggerSettings.level",
        f"{TEMPLATE}.containers.probes.type",
        f"{TEMPLATE}.containers.probes.httpGet.scheme",
        f"{TEMPLATE}.volumes.storageType",
        f"{_SCALE}.rules.custom.type",
        f"{_EVENTS}.rules.type",
    ),
    quantities=("….resources.cpu",),
    literal=(
        *(f"{TEMPLATE}.*.{name}" for name in ("command", "args", "env.value")),
        "….httpHeaders.value",
        "….metadata",
    ),
    read_only=(
        *(
            f"properties.{name}"
            for name in (
                "runningStatus",
                "runningState",
                "latestRevisionName",
                "latestReadyRevisionName",
                "latestRevisionFqdn",
                "customDomainVerificationId",
                "eventStreamEndpoint",
                "outboundIpAddresses",
                "delegatedIdentities",
                "deploymentErrors",
            )
        ),
        f"{_INGRESS}.fqdn",
        "….resources.ephemeralStorage",
    ),
    write_only=("properties.configuration.secrets.value",),
    defaults={
        "properties.workloadProfileName": "Consumption",
        "properties.configuration.activeRevisionsMode": "Single",
        "properties.configuration.maxInactiveRevisions": 100,
        # Where one is found, a value that was asked for, and cannot be seen, has gone.
        "properties.configuration.secrets.keyVaultUrl": "",
        "properties.configuration.dapr.enabled": False,
        "properties.configuration.dapr.appProtocol": "http",
        "properties.configuration.dapr.logLevel": "info",
        f"{_INGRESS}.exposedPort": 0,
        f"{_INGRESS}.targetPort": 0,
        f"{_INGRESS}.transport": "Auto",
        f"{_INGRESS}.traffic": [{"weight": 100, "latestRevision": True}],
        f"{_INGRESS}.traffic.weight": 0,
        f"{_INGRESS}.traffic.latestRevision": False,
        f"{_INGRESS}.clientCertificateMode": "Ignore",
        f"{_INGRESS}.stickySessions.affinity": "none",
        f"{_INGRESS}.customDomains.bindingType": "Disabled",
        f"{TEMPLATE}.terminationGracePeriodSeconds": 30,
        f"{TEMPLATE}.*.imageType": "ContainerImage",
        f"{TEMPLATE}.volumes.storageType": "EmptyDir",
        f"{TEMPLATE}.serviceBinds.clientType": "none",
        "….probes.httpGet.scheme": "HTTP",
        "….probes.initialDelaySeconds": 0,
        "….probes.failureThreshold": 3,
        "….probes.periodSeconds": 10,
        "….probes.successThreshold": 1,
        "….probes.timeoutSeconds": 1,
        "properties.patchingConfiguration.patchingMode": "Automatic",
        "properties.configuration.triggerType": "Manual",
        "properties.configuration.identitySettings.lifecycle": "All",
        "….resources.cpu": 0.5,
        "….resources.memory": "1Gi",
        f"{_SCALE}.minReplicas": 0,
        f"{_SCALE}.maxReplicas": 10,
        f"{_SCALE}.cooldownPeriod": 300,
        f"{_SCALE}.pollingInterval": 30,
        "properties.configuration.replicaRetryLimit": 0,
        "properties.configuration.manualTriggerConfig.parallelism": 1,
        "properties.configuration.manualTriggerConfig.replicaCompletionCount": 1,
        "properties.configuration.scheduleTriggerConfig.parallelism": 1,
        "properties.configuration.scheduleTriggerConfig.replicaCompletionCount": 1,
        "properties.configuration.eventTriggerConfig.parallelism": 1,
        "properties.configuration.eventTriggerConfig.replicaCompletionCount": 1,
        f"{_EVENTS}.minExecutions": 0,
        f"{_EVENTS}.maxExecutions": 100,
        f"{_EVENTS}.pollingInterval": 30,
    },
    rewrites={f"{_SCALE}.rules": _queue},
    moot={f"{_INGRESS}.traffic": _by_labels},
    varying=("….probes.failureThreshold",),  # by the type of the probe
)
