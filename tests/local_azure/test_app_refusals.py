"""What Azure refuses in a container app before anything starts."""

import pytest

from tests.local_azure.app_documents import (
    app_body,
    app_path,
    environment,  # noqa: F401 - fixtures
    refused,
    settle,
)


def change(path, value):
    def apply(body):
        *parents, last = path.split(".")
        place = body["properties"]
        for part in parents:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
        return body

    return apply


BAD = [
    ("phi--x", change("environmentId", None), "ContainerAppInvalidName", "two hyphens"),
    ("Phi", change("environmentId", None), "ContainerAppInvalidName", "upper case"),
    ("a" * 33, change("environmentId", None), "ContainerAppInvalidName", "33 characters"),
    (
        "phi",
        change("environmentId", "/subscriptions/x"),
        "ManagedEnvironmentNotFound",
        "no such environment",
    ),
    (
        "phi",
        change("configuration.secrets", [{"name": "key"}]),
        "ContainerAppSecretInvalid",
        "a secret without a value",
    ),
    (
        "phi",
        change(
            "configuration.secrets",
            [{"name": "key", "keyVaultUrl": "https://v.vault.azure.net/secrets/key"}],
        ),
        "ContainerAppSecretInvalid",
        "a secret of a Key Vault without an identity that reads it",
    ),
    (
        "phi",
        change(
            "configuration.secrets",
            [{"name": "key", "keyVaultUrl": "vault/key", "identity": "system"}],
        ),
        "ContainerAppSecretKeyVaultUrlInvalid",
        "a Key Vault URL that is none",
    ),
    (
        "phi",
        change("configuration.secrets", []),
        "ContainerAppSecretRefNotFound",
        "env refers to a secret that is gone",
    ),
    (
        "phi",
        change("configuration.ingress.targetPort", 70000),
        "ContainerAppInvalidIngressTargetPort",
        "no such port",
    ),
    (
        "phi",
        change("configuration.ingress.ipSecurityRestrictions", [{"name": "a", "action": "Allow"}]),
        "ContainerAppInvalidIpSecurityRestriction",
        "a restriction of no address",
    ),
    (
        "phi",
        change("template.containers.0.probes", [{"type": "Liveness", "httpGet": {"path": "/"}}]),
        "ContainerAppProbeInvalid",
        "a probe without a port",
    ),
    (
        "phi",
        change("template.revisionSuffix", "x" * 60),
        "ContainerAppInvalidRevisionName",
        "54 characters in all",
    ),
    ("phi", change("template.containers", []), "ContainerAppContainersRequired", "nothing to run"),
    (
        "phi",
        change("template.volumes", [{"name": "v", "storageType": "AzureFile", "storageName": "s"}]),
        "ContainerAppVolumeStorageNotFound",
        "the storage is not registered",
    ),
    (
        "phi",
        change("template.scale", {"minReplicas": 3, "maxReplicas": 1}),
        "ContainerAppInvalidScaleSpec",
        "min above max",
    ),
    ("phi", change("workloadProfileName", "none"), "WorkloadProfileNotFound", "an unknown profile"),
    (
        "phi",
        change(
            "template.containers",
            [{"name": "w", "image": "i", "resources": {"cpu": 24, "memory": "220Gi"}}],
        ),
        "ContainerAppInvalidResourceTotal",
        "too much for Consumption",
    ),
    (
        "phi",
        change(
            "template.containers",
            [
                {
                    "name": "w",
                    "image": "i",
                    "probes": [
                        {
                            "type": "Startup",
                            "httpGet": {"path": "/", "port": 1},
                            "failureThreshold": 241,
                        }
                    ],
                }
            ],
        ),
        "ContainerAppProbeFailureThresholdOutOfRange",
        "a probe that tries too often",
    ),
    (
        "phi",
        change("template.containers.0.image", "Not An Image"),
        "InvalidParameterValueInContainerTemplate",
        "an image name that is none",
    ),
    (
        "phi",
        change("template.containers.0.volumeMounts", [{"volumeName": "v", "mountPath": "/v"}]),
        "ContainerAppInvalidVolumeMount",
        "a mount without its volume",
    ),
    (
        "phi",
        change("template.terminationGracePeriodSeconds", 601),
        "ContainerAppInvalidTerminationGracePeriodSeconds",
        "more than ten minutes to end",
    ),
    (
        "phi",
        change("configuration.maxInactiveRevisions", 101),
        "ContainerAppInvalidMaxInactiveRevisions",
        "more inactive revisions than Azure keeps",
    ),
    (
        "phi",
        change("template.scale", {"rules": [{"name": "none"}]}),
        "ContainerAppInvalidScaleRule",
        "a scale rule without a scaler",
    ),
    (
        "phi",
        change("template.scale", {"rules": [{"name": "c", "custom": {"metadata": {}}}]}),
        "ContainerAppInvalidScaleRule",
        "a custom scale rule without a type",
    ),
]


@pytest.mark.parametrize(
    ("name", "spoil", "code", "reason"),
    BAD,
    ids=[f"{case[2]}-{index}" for index, case in enumerate(BAD)],
)
async def test_what_is_refused_before_anything_starts(
    clients, environment, name, spoil, code, reason
):
    """Each mistake has Azure's code, and nothing is created."""
    group, identifier = environment
    assert await refused(clients, group, spoil(app_body(identifier)), name) == (400, code), reason
    assert (await clients.raw("GET", app_path(clients, group, name)))[0] == 404


async def test_a_gpu_profile_takes_what_the_machine_has(clients, environment):
    """24 vCPU and 220 Gi fit the A100 profile, more do not."""
    group, identifier = environment
    body = change("workloadProfileName", "gpu")(app_body(identifier))
    body["properties"]["template"]["containers"][0]["resources"] = {"cpu": 24, "memory": "220Gi"}
    shown = await settle(clients, group, body=body)
    assert (
        shown["properties"]["template"]["containers"][0]["resources"]["ephemeralStorage"] == "8Gi"
    )
    body["properties"]["template"]["containers"][0]["resources"] = {"cpu": 25, "memory": "220Gi"}
    assert await refused(clients, group, body) == (400, "WorkloadProfileMaximumCoresConstraint")


@pytest.mark.parametrize(
    ("template", "expected", "reason"),
    [
        (
            {"volumes": [{"name": "v", "storageType": "NfsAzureFile"}]},
            (501, "NotImplemented"),
            "nothing here speaks NFS",
        ),
        (
            {"initContainers": [{"name": "web", "image": "i"}]},
            (400, "ContainerAppDuplicateContainerName"),
            "two containers of one name",
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "storageType": "Secret",
                        "secrets": [{"secretRef": "key", "path": "../key"}],
                    }
                ]
            },
            (400, "ContainerAppInvalidSecretVolume"),
            "a secret outside its volume",
        ),
    ],
)
async def test_a_template_that_cannot_run_is_refused(
    clients, environment, template, expected, reason
):
    """What the local Azure cannot run it refuses as not implemented, what Azure refuses with
    Azure's word.
    """
    group, identifier = environment
    body = app_body(identifier)
    body["properties"]["template"] |= template
    assert await refused(clients, group, body) == expected, reason
