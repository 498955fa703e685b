"""What Azure is known to do to a resource, one row for each rule: it is no difference, and the row
beside it, where somebody really changed the field, is one.
"""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.api.kinds import Kind
from reconciler.engine.diff import compare, diff
from reconciler.kinds import rules_of

ID = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/a"


def app(**properties: Any) -> dict[str, Any]:
    return {"properties": properties}


def configured(**configuration: Any) -> dict[str, Any]:
    return app(configuration=configuration)


def ingress(**fields: Any) -> dict[str, Any]:
    return configured(ingress=fields)


def contained(**fields: Any) -> dict[str, Any]:
    return app(template={"containers": [{"name": "a", **fields}]})


def scaled(**fields: Any) -> dict[str, Any]:
    return app(template={"scale": fields})


def queue(length: Any) -> dict[str, Any]:
    metadata = {"accountName": "st", "queueName": "q", "queueLength": length}
    return scaled(rules=[{"name": "r", "custom": {"type": "azure-queue", "metadata": metadata}}])


def typed(length: Any) -> dict[str, Any]:
    inner = {"accountName": "st", "queueName": "q", "queueLength": length, "identity": ""}
    return scaled(rules=[{"name": "r", "azureQueue": inner}])


LATEST = {"latestRevision": True, "weight": 100}
PINNED = {"revisionName": "a--1", "weight": 100}
OLD = {"latestRevision": "false"}
OTHERS = {"azureQueue": None, "http": None, "tcp": None}
DEDICATED, FREE = (
    {"name": "d", "workloadProfileType": "D4", "maximumCount": "2"},
    {"name": "Consumption", "workloadProfileType": "Consumption"},
)
DOMAIN = {"customDomainVerificationId": "X", "dnsSuffix": None, "thumbprint": None}
LOGS = "log-analytics"

# the rule, the kind, what was asked, what Azure shows for it, what it shows once somebody changed it
RULES: list[tuple[str, Kind, Any, Any, Any]] = [
    (
        "a location is shown by its display name",
        Kind.APP,
        {"location": "northcentralusstage"},
        {"location": "North Central US (Stage)"},
        {"location": "North Central US"},
    ),
    (
        "ids come back in other letters",
        Kind.APP,
        app(environmentId="/subscriptions/0/resourceGroups/RG/providers/Microsoft.App/me/E"),
        app(environmentId="/subscriptions/0/resourcegroups/rg/providers/microsoft.app/me/e"),
        app(environmentId="/subscriptions/0/resourcegroups/rg/providers/microsoft.app/me/f"),
    ),
    (
        "an identity's id is matched in any letters, and what Azure adds to it is nobody's",
        Kind.APP,
        {"identity": {"type": "UserAssigned", "userAssignedIdentities": {ID: {}}}},
        {
            "identity": {
                "type": "UserAssigned",
                "userAssignedIdentities": {ID.lower(): {"principalId": "p", "clientId": "c"}},
            }
        },
        {"identity": {"type": "UserAssigned", "userAssignedIdentities": {ID: {}, ID + "b": {}}}},
    ),
    (
        "identity types get a space and any order",
        Kind.APP,
        {"identity": {"type": "SystemAssigned,UserAssigned"}},
        {"identity": {"type": "UserAssigned, SystemAssigned"}},
        {"identity": {"type": "SystemAssigned"}},
    ),
    (
        "no identity is the type None",
        Kind.APP,
        {"identity": {"type": "None"}},
        {},
        {"identity": {"type": "SystemAssigned"}},
    ),
    (
        "a null in a PATCH takes an identity away",
        Kind.APP,
        {"identity": {"userAssignedIdentities": {ID: None}}},
        {"identity": {"userAssignedIdentities": {}}},
        {"identity": {"userAssignedIdentities": {ID.lower(): {"principalId": "p"}}}},
    ),
    (
        "the mode is Single where nothing is shown, in any letters",
        Kind.APP,
        configured(activeRevisionsMode="single"),
        configured(activeRevisionsMode=None),
        configured(activeRevisionsMode="Multiple"),
    ),
    (
        "Consumption is null in an environment without profiles",
        Kind.APP,
        app(workloadProfileName="Consumption"),
        app(workloadProfileName=None),
        app(workloadProfileName="gpu"),
    ),
    (
        "no traffic is all of it for the latest revision",
        Kind.APP,
        ingress(traffic=[]),
        ingress(traffic=[LATEST]),
        ingress(traffic=[PINNED]),
    ),
    (
        "traffic is matched by revision, and false and null are left out",
        Kind.APP,
        ingress(traffic=[{**PINNED, "weight": "100", "latestRevision": False, "label": None}]),
        ingress(traffic=[PINNED]),
        ingress(traffic=[{**PINNED, "weight": 50}]),
    ),
    (
        "an exposed port that nobody asked for is 0",
        Kind.APP,
        ingress(exposedPort=None, targetPort="80", transport="auto"),
        ingress(exposedPort=0, targetPort=80, transport="Auto"),
        ingress(exposedPort=0, targetPort=81, transport="Auto"),
    ),
    (
        "empty lists are null",
        Kind.APP,
        configured(secrets=[], registries=[]),
        configured(secrets=None, registries=None),
        configured(secrets=[{"name": "x"}], registries=None),
    ),
    (
        "the value of a secret never comes back",
        Kind.APP,
        configured(secrets=[{"name": "x", "value": "v"}]),
        configured(secrets=[{"name": "x"}]),
        configured(secrets=[{"name": "y"}]),
    ),
    (
        "a value that nobody can see has gone where a vault's is found",
        Kind.APP,
        configured(secrets=[{"name": "x", "value": "v", "keyVaultUrl": None}]),
        configured(secrets=[{"name": "x"}]),
        configured(secrets=[{"name": "x", "keyVaultUrl": "https://v/secrets/x"}]),
    ),
    (
        "a registry's fields that are null come back empty",
        Kind.APP,
        configured(registries=[{"server": "a.io", "username": None, "identity": "system"}]),
        configured(registries=[{"server": "A.io", "username": "", "identity": "system"}]),
        configured(registries=[{"server": "a.io", "username": "", "identity": ""}]),
    ),
    (
        "the 100 inactive revisions of the first write are no difference later",
        Kind.APP,
        configured(maxInactiveRevisions=100),
        configured(maxInactiveRevisions=None),
        configured(maxInactiveRevisions=10),
    ),
    (
        "cores are numbers, memory is a quantity, the disk is computed",
        Kind.APP,
        contained(resources={"cpu": "1.250", "memory": "2.5Gi", "ephemeralStorage": "1Gi"}),
        contained(resources={"cpu": 1.25, "memory": "2560Mi", "ephemeralStorage": "8Gi"}),
        contained(resources={"cpu": 1.5, "memory": "2560Mi", "ephemeralStorage": "8Gi"}),
    ),
    (
        "half a core and a gigabyte are the default",
        Kind.APP,
        contained(resources={"cpu": 0.5, "memory": "1Gi"}),
        contained(),
        contained(resources={"cpu": 0.5, "memory": "2Gi"}),
    ),
    (
        "empty fields of a container are left out",
        Kind.APP,
        contained(env=[], command=None, args=[], volumeMounts=None),
        contained(),
        contained(args=["x"]),
    ),
    (
        "variables are matched by name, whatever their order",
        Kind.APP,
        contained(env=[{"name": "A", "value": "1"}, {"name": "B", "secretRef": "s"}]),
        contained(env=[{"name": "B", "secretRef": "s"}, {"name": "A", "value": "1"}]),
        contained(env=[{"name": "B", "secretRef": "t"}, {"name": "A", "value": "1"}]),
    ),
    (
        "mounts are matched by their path, whatever their order",
        Kind.APP,
        contained(volumeMounts=[{"mountPath": "/a", "volumeName": "v"}, {"mountPath": "/b"}]),
        contained(volumeMounts=[{"mountPath": "/b"}, {"mountPath": "/a", "volumeName": "v"}]),
        contained(volumeMounts=[{"mountPath": "/b"}, {"mountPath": "/a", "volumeName": "w"}]),
    ),
    (
        "the order of arguments means something",
        Kind.APP,
        contained(args=["a", "b"]),
        contained(args=["a", "b"]),
        contained(args=["b", "a"]),
    ),
    (
        "scale has its defaults",
        Kind.APP,
        scaled(minReplicas=0, maxReplicas=10, cooldownPeriod=300, pollingInterval=30, rules=[]),
        scaled(minReplicas=None, rules=None),
        scaled(minReplicas=1, rules=None),
    ),
    (
        "a queue's custom rule becomes one of its own type, with numbers",
        Kind.APP,
        queue("1"),
        typed(1),
        typed(2),
    ),
    (
        "a tool names the other kinds of rule as null",
        Kind.APP,
        scaled(rules=[{**queue("1")["properties"]["template"]["scale"]["rules"][0], **OTHERS}]),
        typed(1),
        typed(2),
    ),
    (
        "a revision may have the traffic of two labels, in any order",
        Kind.APP,
        ingress(traffic=[{**PINNED, "label": "a"} | OLD, {**PINNED, "label": "b", "weight": 0}]),
        ingress(traffic=[{**PINNED, "label": "b"} | {"weight": 0}, {**PINNED, "label": "a"}]),
        ingress(traffic=[{**PINNED, "label": "b"} | {"weight": 0}, {**PINNED, "label": "c"}]),
    ),
    (
        "what the service computes may be sent back",
        Kind.APP,
        {
            "id": "x",
            "systemData": {"a": 1},
            **app(latestRevisionName="a--1", outboundIpAddresses=[]),
        },
        {"id": "y", **app(latestRevisionName="a--2", outboundIpAddresses=["1.2.3.4"])},
        None,
    ),
    (
        "Consumption is added to the profiles, which are matched by name",
        Kind.ENVIRONMENT,
        app(workloadProfiles=[{**DEDICATED, "Name": DEDICATED["name"]}]),
        app(workloadProfiles=[FREE, {**DEDICATED, "maximumCount": 2, "enableFips": False}]),
        app(workloadProfiles=[FREE, {**DEDICATED, "maximumCount": 3}]),
    ),
    (
        "custom domains are always an object",
        Kind.ENVIRONMENT,
        app(customDomainConfiguration=None),
        app(customDomainConfiguration=DOMAIN),
        None,
    ),
    (
        "the workspace's key never comes back",
        Kind.ENVIRONMENT,
        app(
            appLogsConfiguration={
                "destination": LOGS,
                "logAnalyticsConfiguration": {"customerId": "c", "sharedKey": "k"},
            }
        ),
        app(
            appLogsConfiguration={
                "destination": LOGS,
                "logAnalyticsConfiguration": {"customerId": "C", "sharedKey": None},
            }
        ),
        app(
            appLogsConfiguration={
                "destination": LOGS,
                "logAnalyticsConfiguration": {"customerId": "d", "sharedKey": None},
            }
        ),
    ),
    (
        "logs that go nowhere are null",
        Kind.ENVIRONMENT,
        app(appLogsConfiguration={"destination": "none"}),
        app(appLogsConfiguration={"destination": None, "logAnalyticsConfiguration": None}),
        app(appLogsConfiguration={"destination": LOGS}),
    ),
    (
        "booleans that are false may be left out",
        Kind.ENVIRONMENT,
        app(zoneRedundant=False, peerAuthentication={"mtls": {"enabled": False}}),
        app(),
        app(zoneRedundant=True),
    ),
    (
        "the key of a registered share never comes back",
        Kind.STORAGE,
        app(azureFile={"accountName": "st", "accessMode": "readonly", "accountKey": "k"}),
        app(azureFile={"accountName": "st", "accessMode": "ReadOnly"}),
        app(azureFile={"accountName": "st", "accessMode": "ReadWrite"}),
    ),
    (
        "what nobody asked of an account may change with the years",
        Kind.STORAGE_ACCOUNT,
        {"sku": {"name": "standard_lrs"}, "tags": None},
        {
            "sku": {"name": "Standard_LRS", "tier": "Standard"},
            "tags": {},
            **app(minimumTlsVersion="TLS1_2", allowBlobPublicAccess=False),
        },
        {"sku": {"name": "Standard_GRS", "tier": "Standard"}},
    ),
    (
        "a rule for a subnet gains its state",
        Kind.STORAGE_ACCOUNT,
        app(networkAcls={"virtualNetworkRules": [{"id": ID}], "defaultAction": "deny"}),
        app(
            networkAcls={
                "virtualNetworkRules": [
                    {"id": ID.lower(), "action": "Allow", "state": "Succeeded"}
                ],
                "defaultAction": "Deny",
                "ipRules": [],
            }
        ),
        app(networkAcls={"virtualNetworkRules": [], "defaultAction": "Deny"}),
    ),
    (
        "no workspace is Standalone any more",
        Kind.WORKSPACE,
        app(sku={"name": "Standalone"}, retentionInDays=30),
        app(
            sku={"name": "PerGB2018", "lastSkuUpdate": "x"}, workspaceCapping={"dailyQuotaGb": -1.0}
        ),
        app(sku={"name": "CapacityReservation"}, retentionInDays=30),
    ),
    (
        "an etag is made again by each write",
        Kind.WORKSPACE,
        {"etag": '"a"', **app(retentionInDays="60")},
        {"etag": '"b"', **app(retentionInDays=60)},
        {"etag": '"b"', **app(retentionInDays=30)},
    ),
    (
        "a share has its defaults",
        Kind.SHARE,
        app(accessTier="transactionOptimized", enabledProtocols="SMB", shareQuota="100"),
        app(accessTier="TransactionOptimized", leaseState="available", shareQuota=100),
        app(accessTier="Hot", shareQuota=100),
    ),
    (
        "a group's tags that nobody asked for are another's",
        Kind.RESOURCE_GROUP,
        {"location": "West Europe", "tags": {"a": "1"}},
        {"location": "westeurope", "tags": {"b": "2", "A": "1"}},
        {"location": "westeurope", "tags": {"b": "2"}},
    ),
    (
        "numbers of a job may be texts, and its defaults left out",
        Kind.JOB,
        configured(replicaTimeout="300", replicaRetryLimit=0, triggerType="manual"),
        configured(replicaTimeout=300, triggerType="Manual"),
        configured(replicaTimeout=300, triggerType="Manual", replicaRetryLimit=3),
    ),
]


@pytest.mark.parametrize(
    ("kind", "asked", "found", "changed"),
    [row[1:] for row in RULES],
    ids=[row[0] for row in RULES],
)
def test_a_rule_of_azure(kind: Kind, asked: Any, found: Any, changed: Any) -> None:
    """What Azure does by itself is no difference, and what somebody did is exactly one."""
    rules = rules_of(kind)
    assert diff(asked, found, rules) == ()
    assert compare(asked, found, rules).changes == ()
    if changed is not None:
        assert len(diff(asked, changed, rules)) == 1
        assert len(compare(asked, changed, rules).changes) == 1
