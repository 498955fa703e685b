"""Whole documents with one thing wrong in them: each is taken or refused as ARM does, and a server
that took it lives through its next start.
"""

import asyncio
import copy
import json
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.local_azure.bad_input_ground import alive, azure, ground, token  # noqa: F401 - fixtures
from tests.local_azure.test_fuzz import JSON, Plain

VERSION = "api-version=2025-01-01"
_CONTAINER = {
    "name": "web",
    "image": "nothing:1",
    "command": ["/bin/sh"],
    "args": ["-c", "true"],
    "env": [{"name": "A", "value": "b"}, {"name": "KEY", "secretRef": "key"}],
    "resources": {"cpu": 0.5, "memory": "1Gi"},
    "volumeMounts": [{"volumeName": "v", "mountPath": "/v", "subPath": "a"}],
    "probes": [{"type": "Liveness", "httpGet": {"path": "/", "port": 80}, "periodSeconds": 5}],
}
_TEMPLATE = {
    "containers": [_CONTAINER],
    "initContainers": [{"name": "first", "image": "nothing:1"}],
    "volumes": [
        {"name": "v", "storageType": "EmptyDir"},
        {"name": "s", "storageType": "Secret", "secrets": [{"secretRef": "key", "path": "k"}]},
    ],
}
_SECRETS = [{"name": "key", "value": "s3cret"}]
_RULE = {"type": "redis", "metadata": {"a": "b"}, "auth": [{"secretRef": "key"}]}
_APP = {
    "configuration": {
        "activeRevisionsMode": "Multiple",
        "maxInactiveRevisions": 3,
        "secrets": _SECRETS,
        "registries": [{"server": "a.io", "username": "u", "passwordSecretRef": "key"}],
        "ingress": {
            "external": True,
            "targetPort": 80,
            "transport": "auto",
            "traffic": [{"latestRevision": True, "weight": 100, "label": "l"}],
            "customDomains": [{"name": "a.example", "bindingType": "Disabled"}],
            "ipSecurityRestrictions": [
                {"name": "r", "ipAddressRange": "10.0.0.0/8", "action": "Allow"}
            ],
            "stickySessions": {"affinity": "none"},
            "corsPolicy": {"allowedOrigins": ["*"], "maxAge": 5},
        },
        "dapr": {"enabled": True, "appId": "a", "appPort": 80},
        "identitySettings": [{"identity": "system", "lifecycle": "All"}],
    },
    "template": {
        **_TEMPLATE,
        "revisionSuffix": None,
        "terminationGracePeriodSeconds": 30,
        "scale": {
            "minReplicas": 0,
            "maxReplicas": 1,
            "rules": [
                {"name": "http", "http": {"metadata": {"concurrentRequests": "5"}}},
                {"name": "redis", "custom": _RULE},
                {"name": "q", "azureQueue": {"queueName": "q", "queueLength": 1}},
            ],
        },
    },
}
_JOB = {
    "configuration": {
        "triggerType": "Event",
        "replicaTimeout": 60,
        "replicaRetryLimit": 1,
        "secrets": _SECRETS,
        "manualTriggerConfig": {"parallelism": 1, "replicaCompletionCount": 1},
        "scheduleTriggerConfig": {"cronExpression": "* * * * *", "parallelism": 1},
        "eventTriggerConfig": {
            "parallelism": 1,
            "scale": {"minExecutions": 0, "maxExecutions": 1, "rules": [{"name": "r", **_RULE}]},
        },
    },
    "template": _TEMPLATE,
}
_HOME = {
    "appLogsConfiguration": {"destination": "azure-monitor"},
    "workloadProfiles": [{"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"}],
    "vnetConfiguration": {"internal": False},
    "customDomainConfiguration": {"dnsSuffix": "a.example"},
    "peerAuthentication": {"mtls": {"enabled": True}},
    "openTelemetryConfiguration": {
        "destinationsConfiguration": {
            "otlpConfigurations": [{"name": "o", "headers": [{"key": "k"}]}]
        },
        "tracesConfiguration": {"destinations": ["o"]},
    },
}
_VAULT = {
    "tenantId": "t",
    "sku": {"family": "A", "name": "standard"},
    "accessPolicies": [{"objectId": "o", "permissions": {"secrets": ["get"]}}],
}
DOCUMENTS = {
    "Microsoft.App/containerApps/fuzz": _APP,
    "Microsoft.App/jobs/fuzz": _JOB,
    "Microsoft.App/managedEnvironments/cae-fuzz": _HOME,
    "Microsoft.KeyVault/vaults/kv-fuzz": _VAULT,
}


def places(document, above=()):
    """The path of everything in a document."""
    yield above
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in inside:
        if isinstance(value, dict | list):
            yield from places(value, (*above, name))
        else:
            yield (*above, name)


def spoiled(document, path, change, value):
    """The document with one thing gone, replaced, doubled or added."""
    whole = {"properties": copy.deepcopy(document)}
    *above, last = ("properties", *path)
    around = whole
    for name in above:
        around = around[name]
    if change == "double" and isinstance(around, list):
        around.append(around[last])
    elif change == "drop":
        del around[last]
    else:
        around[last] = value
    return whole


def fuzz(azure, ground, token, examples):
    home = f"{ground}/providers/Microsoft.App/managedEnvironments/cae"
    taken = []

    @seed(20261129)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        st.sampled_from(sorted(DOCUMENTS)).flatmap(
            lambda kind: st.tuples(
                st.just(kind), st.sampled_from(sorted(places(DOCUMENTS[kind]), key=repr))
            )
        ),
        st.sampled_from(["drop", "double", "replace"]),
        JSON | st.sampled_from(["", " ", "x" * 300, "../x", -1, 2**31, {}, []]),
    )
    def run(drawn, change, value):
        kind, path = drawn
        body = spoiled(DOCUMENTS[kind], path, change, value)
        properties = body.get("properties")
        if isinstance(properties, dict) and kind.partition("/")[2].startswith(("con", "job")):
            properties["environmentId"] = home
        # Its own name each time: a write in progress would refuse the next one unread.
        name = f"{kind}-{len(taken)}"
        status, text = client.send(
            "PUT",
            f"{ground}/providers/{name}?{VERSION}",
            json.dumps({"location": "swedencentral", **body}).encode(),
        )
        assert status < 500 or status == 501, (kind, path, change, value, text)
        if status >= 400:
            error = json.loads(text)["error"]
            assert error["code"]
            assert error["message"]
            return
        taken.append(name)
        status, text = client.send("GET", f"{ground}/providers/{name}?{VERSION}")
        assert status == 200, (kind, path, change, value, text)

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with closing(Plain(azure, headers)) as client:
        run()
    return taken


async def survives(azure, ground, token, examples):
    """Some documents were taken, and after a restart the server answers without a failure."""
    taken = await asyncio.to_thread(fuzz, azure, ground, token, examples)
    assert len({name.partition("-")[0] for name in taken}) >= 3
    await asyncio.to_thread(azure.stop)
    await asyncio.to_thread(azure.start)
    assert await alive(azure)
    assert "Traceback" not in azure.log(), azure.log()[-3000:]


async def test_documents_with_one_thing_wrong(azure, ground, token):
    """A slice of the long run below."""
    await survives(azure, ground, token, 80)


@pytest.mark.slow
async def test_very_many_documents_with_one_thing_wrong(azure, ground, token):
    """The same, for long."""
    await survives(azure, ground, token, 500)
