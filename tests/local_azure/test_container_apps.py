"""Environments, storages and container apps in ARM: what is accepted, what is shown, what makes a
revision. No replica is needed.
"""

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

VERSION = "2026-07-01"


@pytest.fixture
async def environment(clients, request):
    """A group with a ready environment that has one GPU profile; gives (group, environment id)."""
    group = f"rg-{abs(hash(request.node.name)) % 10**10}"
    await clients.resources.resource_groups.create_or_update(group, {"location": "swedencentral"})
    body = {
        "location": "swedencentral",
        "properties": {
            "workloadProfiles": [
                {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"}
            ]
        },
    }
    made = await (
        await clients.apps.managed_environments.begin_create_or_update(group, "cae", body)
    ).result()
    return group, made.id


def app_body(environment_id, **template):
    container = {
        "name": "web",
        "image": "nothing:1",
        "env": [{"name": "KEY", "secretRef": "key"}],
        "command": None,
        "args": [],
    }
    return {
        "location": "Sweden Central",
        "tags": {"owner": "m"},
        "properties": {
            "environmentId": environment_id,
            "configuration": {
                "activeRevisionsMode": "multiple",
                "secrets": [{"name": "key", "value": "s3cret"}],
                "ingress": {"targetPort": 8000, "external": True, "transport": "auto"},
            },
            "template": {
                "containers": [container],
                "scale": {"minReplicas": 0, "maxReplicas": 1},
                **template,
            },
        },
    }


async def settle(clients, group, name="phi", body=None, patch=None):
    """One write through the SDK's poller with its default intervals; gives the app's later GET."""
    apps = clients.apps.container_apps
    if body is not None:
        await (await apps.begin_create_or_update(group, name, body)).result()
    if patch is not None:
        await (await apps.begin_update(group, name, patch)).result()
    return await get(clients, group, name)


async def get(clients, group, name="phi", version=VERSION):
    return (await clients.raw("GET", app_path(clients, group, name), version=version))[2]


def app_path(clients, group, name="phi"):
    return f"{clients.group(group)}/providers/Microsoft.App/containerApps/{name}"


async def refused(clients, group, body, name="phi"):
    status, _, answer = await clients.raw("PUT", app_path(clients, group, name), body)
    return status, answer["error"]["code"]


async def test_an_environment_is_an_operation_and_the_same_put_is_none(
    clients, environment, slow_operations
):
    """201 with Azure-AsyncOperation, Consumption appended, display location; unchanged 200; PATCH
    202 by Location; tags at once.
    """
    group, identifier = environment
    shown = (await clients.raw("GET", identifier))[2]
    assert shown["location"] == "Sweden Central"
    assert [profile["name"] for profile in shown["properties"]["workloadProfiles"]] == [
        "gpu",
        "Consumption",
    ]
    assert shown["properties"]["appLogsConfiguration"] == {
        "destination": None,
        "logAnalyticsConfiguration": None,
    }
    same = {
        "location": "swedencentral",
        "properties": {"workloadProfiles": shown["properties"]["workloadProfiles"]},
    }
    assert (await clients.raw("PUT", identifier, same))[0] == 200
    status, headers, body = await clients.raw(
        "PATCH", identifier, {"location": "swedencentral", "tags": {"a": "b"}}
    )
    assert (status, body["tags"]) == (200, {"a": "b"})
    more = [
        *same["properties"]["workloadProfiles"],
        {"name": "big", "workloadProfileType": "D8", "minimumCount": 0, "maximumCount": 1},
    ]
    status, headers, body = await clients.raw(
        "PATCH", identifier, {"properties": {"workloadProfiles": more}}
    )
    assert (status, body) == (202, None)
    assert "Azure-AsyncOperation" not in headers
    status, _, busy = await clients.raw("PUT", identifier, same)
    assert (status, busy["error"]["code"]) == (409, "ManagedEnvironmentOperationInProgress")
    while (polled := await clients.raw("GET", headers["Location"]))[0] == 202:
        pass
    assert polled[2]["properties"]["provisioningState"] == "Succeeded"
    states = [
        state.name
        async for state in clients.apps.managed_environments.list_workload_profile_states(
            group, "cae"
        )
    ]
    assert states == ["gpu", "Consumption", "big"]
    assert [
        usage.name.value
        async for usage in clients.apps.managed_environment_usages.list(group, "cae")
    ][-1].endswith("T4Gpus")


@pytest.mark.parametrize(
    ("profile", "code"),
    [
        (
            {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100", "minimumCount": 0},
            "WorkloadProfilePropertyNotSupported",
        ),
        (
            {"name": "a-name-of-16-char", "workloadProfileType": "D4"},
            "WorkloadProfileInvalidNameTooLong",
        ),
        ({"name": "gpu", "workloadProfileType": "H100"}, "WorkloadProfileTypeNotSupported"),
    ],
)
async def test_profiles_have_rules(clients, environment, profile, code):
    """Serverless GPUs take no counts, names are short, types are known."""
    body = {"location": "swedencentral", "properties": {"workloadProfiles": [profile]}}
    path = f"{clients.group(environment[0])}/providers/Microsoft.App/managedEnvironments/other"
    status, _, answer = await clients.raw("PUT", path, body)
    assert (status, answer["error"]["code"]) == (400, code)


async def test_profile_types_and_quotas_of_a_region(clients):
    """The serverless GPU is offered where it exists."""
    found = {
        item.name: item.properties.gpus
        async for item in clients.apps.available_workload_profiles.get("swedencentral")
    }
    assert found["Consumption-GPU-NC24-A100"] == 1
    elsewhere = [
        item.name async for item in clients.apps.available_workload_profiles.get("northeurope")
    ]
    assert "Consumption-GPU-NC24-A100" not in elsewhere
    usages = {
        usage.name.value: usage.limit async for usage in clients.apps.usages.list("swedencentral")
    }
    gpus = {"SubscriptionConsumptionNCA100Gpus": 2, "SubscriptionConsumptionT4Gpus": 2}
    assert usages == {"ManagedEnvironmentCount": 20, **gpus}
    _, _, older = await clients.raw(
        "GET",
        f"{clients.azure.subscription}/providers/Microsoft.App/locations/eastus/usages",
        version="2024-03-01",
    )
    assert [usage["name"]["value"] for usage in older["value"]] == ["ManagedEnvironmentCount"]


async def test_an_environment_storage_is_almost_immutable(clients, environment):
    """Written at once without ever showing the key; only the key may change; in use it
    cannot go.
    """
    group, identifier = environment
    path = f"{identifier}/storages/share"
    file = {
        "accountName": "stx",
        "accountKey": "a2V5",
        "shareName": "phi",
        "accessMode": "ReadOnly",
    }
    status, _, body = await clients.raw("GET", path)
    assert (status, body["error"]["code"]) == (404, "ManagedEnvironmentStorageNotFound")
    status, _, body = await clients.raw("PUT", path, {"properties": {"azureFile": file}})
    assert (status, body["properties"]["azureFile"]) == (
        200,
        {key: file[key] for key in ("accountName", "shareName", "accessMode")},
    )
    assert (
        await clients.raw(
            "PUT", path, {"properties": {"azureFile": {**file, "accountKey": "b3RoZXI="}}}
        )
    )[0] == 200
    status, _, body = await clients.raw(
        "PUT", path, {"properties": {"azureFile": {**file, "accessMode": "ReadWrite"}}}
    )
    assert (status, body["error"]["code"]) == (400, "ManagedEnvironmentStorageUpdateBadRequest")
    volumes = [{"name": "v", "storageType": "AzureFile", "storageName": "share"}]
    app = app_body(identifier, volumes=volumes)
    await settle(clients, group, body=app)
    with pytest.raises(ResourceExistsError, match="still in use"):
        await clients.apps.managed_environments_storages.delete(group, "cae", "share")
    await (await clients.apps.container_apps.begin_delete(group, "phi")).result()
    await clients.apps.managed_environments_storages.delete(group, "cae", "share")
    assert (await clients.raw("DELETE", path))[0] == 204


async def test_the_put_is_an_echo_and_the_get_is_the_state(clients, environment):
    """The answer to the PUT has nulls where nothing was sent; the GET has Azure's defaults,
    spelling and no secret.
    """
    group, identifier = environment
    status, headers, echo = await clients.raw("PUT", app_path(clients, group), app_body(identifier))
    assert status == 201
    assert "Azure-AsyncOperation" in headers
    assert "Location" not in headers
    echoed = echo["properties"]
    assert echoed["configuration"]["ingress"]["traffic"] is None
    assert echoed["configuration"]["ingress"]["fqdn"] is None
    assert "latestRevisionName" not in echoed
    assert echo["systemData"]["createdAt"].endswith("Z")
    while (polled := await clients.raw("GET", headers["Azure-AsyncOperation"]))[2][
        "status"
    ] == "InProgress":
        pass
    assert set(polled[2]) == {"id", "name", "status", "startTime"}
    shown = await get(clients, group)
    assert shown["id"].endswith("/providers/Microsoft.App/containerapps/phi")
    assert (shown["type"], shown["location"]) == ("Microsoft.App/containerApps", "Sweden Central")
    assert not shown["systemData"]["createdAt"].endswith("Z")
    configuration, template = shown["properties"]["configuration"], shown["properties"]["template"]
    assert configuration["activeRevisionsMode"] == "Multiple"
    assert configuration["secrets"] == [{"name": "key"}]
    assert configuration["maxInactiveRevisions"] == 100
    assert configuration["ingress"]["transport"] == "Auto"
    assert configuration["ingress"]["traffic"] == [{"weight": 100, "latestRevision": True}]
    assert configuration["ingress"]["fqdn"].startswith("localhost:")
    assert template["revisionSuffix"] == ""
    assert template["containers"] == [
        {
            "image": "nothing:1",
            "name": "web",
            "env": [{"name": "KEY", "secretRef": "key"}],
            "resources": {"cpu": 0.5, "memory": "1Gi", "ephemeralStorage": "2Gi"},
        }
    ]
    assert template["scale"] == {
        "minReplicas": 0,
        "maxReplicas": 1,
        "rules": None,
        "cooldownPeriod": 300,
        "pollingInterval": 30,
    }
    assert shown["properties"]["workloadProfileName"] == "Consumption"
    assert shown["identity"] == {"type": "None"}
    older = (await get(clients, group, version="2024-03-01"))["properties"]["template"]["scale"]
    assert older == {"minReplicas": 0, "maxReplicas": 1, "rules": None}
    secrets = await clients.apps.container_apps.list_secrets(group, "phi")
    assert [(secret.name, secret.value) for secret in secrets.value] == [("key", "s3cret")]


async def test_ids_are_found_in_any_case(clients, environment):
    """resourcegroups, containerapps and a shouted name all mean the same app."""
    group, identifier = environment
    await settle(clients, group, body=app_body(identifier))
    path = (
        app_path(clients, group)
        .replace("resourceGroups", "resourcegroups")
        .replace("containerApps/phi", "CONTAINERAPPS/PHI")
    )
    assert (await clients.raw("GET", path))[0] == 200


async def test_busy_and_missing(clients, environment, slow_operations):
    """A second write waits for the first; a delete of what is gone is 204; an app in a deleted
    group has no group.
    """
    group, identifier = environment
    await clients.raw("PUT", app_path(clients, group), app_body(identifier))
    status, _, body = await clients.raw("PATCH", app_path(clients, group), {"tags": {"a": "b"}})
    assert (status, body["error"]["code"]) == (409, "ContainerAppOperationInProgress")
    assert "OperationId" in body["error"]["message"]
    await settle(clients, group)
    while (await get(clients, group))["properties"]["provisioningState"] != "Succeeded":
        pass
    status, _, body = await clients.raw("DELETE", identifier)
    assert (status, body["error"]["code"]) == (409, "ManagedEnvironmentHasContainerApps")
    status, headers, _ = await clients.raw("DELETE", app_path(clients, group))
    assert (status, "Location" in headers) == (202, True)
    while (await clients.raw("GET", headers["Location"]))[0] == 202:
        pass
    assert (await clients.raw("DELETE", app_path(clients, group)))[0] == 204
    with pytest.raises(ResourceNotFoundError):
        await clients.apps.container_apps.get(group, "phi")
    await (await clients.apps.managed_environments.begin_delete(group, "cae")).result()
    assert (await clients.raw("DELETE", identifier))[0] == 204


async def revisions(clients, group):
    return [
        found async for found in clients.apps.container_apps_revisions.list_revisions(group, "phi")
    ]


async def test_what_makes_a_revision_and_what_does_not(clients, environment):
    """Anything under template does; configuration, tags, a repeated PUT and a used
    suffix do not.
    """
    group, identifier = environment
    body = app_body(identifier, revisionSuffix="one")
    first = (await settle(clients, group, body=body))["properties"]["latestRevisionName"]
    assert first == "phi--one"
    same = await settle(clients, group, body=body)
    assert same["properties"]["configuration"]["maxInactiveRevisions"] is None
    quiet = {
        "tags": {"x": "y"},
        "properties": {
            "configuration": {
                "ingress": {"allowInsecure": True},
                "secrets": [{"name": "key", "value": "new"}],
            }
        },
    }
    shown = await settle(clients, group, patch=quiet)
    assert shown["properties"]["latestRevisionName"] == first
    assert shown["properties"]["configuration"]["ingress"]["targetPort"] == 8000
    used = await settle(
        clients, group, patch={"properties": {"template": {"scale": {"maxReplicas": 2}}}}
    )
    assert used["properties"]["latestRevisionName"] == first
    fresh = await settle(
        clients,
        group,
        patch={"properties": {"template": {"revisionSuffix": None, "scale": {"maxReplicas": 3}}}},
    )
    assert fresh["properties"]["latestRevisionName"] not in {first, None}
    assert fresh["properties"]["template"]["revisionSuffix"] == ""
    assert fresh["properties"]["template"]["scale"]["maxReplicas"] == 3
    assert [found.name for found in await revisions(clients, group)] == [
        first,
        fresh["properties"]["latestRevisionName"],
    ]


async def test_patch_merges_objects_replaces_lists_and_deletes_nulls(clients, environment):
    """Sending containers without env drops the env; null removes the ingress; the secret stays with
    its value.
    """
    group, identifier = environment
    await settle(clients, group, body=app_body(identifier))
    bare = {"properties": {"template": {"containers": [{"name": "web", "image": "nothing:2"}]}}}
    status, headers, body = await clients.raw("PATCH", app_path(clients, group), bare)
    assert (status, body) == (202, None)
    assert {"Location", "Azure-AsyncOperation"} <= set(headers)
    while (polled := await clients.raw("GET", headers["Location"]))[0] == 202:
        pass
    assert polled[2]["properties"]["template"]["containers"][0].get("env") is None
    shown = await settle(clients, group, patch={"properties": {"configuration": {"ingress": None}}})
    assert shown["properties"]["configuration"]["ingress"] is None
    secrets = await clients.apps.container_apps.list_secrets(group, "phi")
    assert secrets.value[0].value == "s3cret"


async def test_explicit_weights_in_multiple_mode(clients, environment):
    """Weights name revisions, also the one being made; they add up to 100; list order and zero
    weights are kept.
    """
    group, identifier = environment
    body = app_body(identifier, revisionSuffix="one")
    body["properties"]["configuration"]["ingress"]["traffic"] = [
        {"revisionName": "phi--one", "weight": 100}
    ]
    await settle(clients, group, body=body)
    await settle(
        clients,
        group,
        patch={"properties": {"template": {"revisionSuffix": "two", "scale": {"maxReplicas": 2}}}},
    )
    weights = {
        found.name: found.properties.traffic_weight for found in await revisions(clients, group)
    }
    assert weights == {"phi--one": 100, "phi--two": 0}
    split = [
        {"revisionName": "phi--two", "weight": 10},
        {"revisionName": "phi--one", "weight": 90, "label": "old"},
    ]
    shown = await settle(
        clients, group, patch={"properties": {"configuration": {"ingress": {"traffic": split}}}}
    )
    assert shown["properties"]["configuration"]["ingress"]["traffic"] == split
    for wrong, code in (
        ([{"revisionName": "phi--one", "weight": 90}], "ContainerAppInvalidTrafficWeight"),
        ([{"revisionName": "phi--none", "weight": 100}], "RevisionNotFound"),
    ):
        path, change = (
            app_path(clients, group),
            {"properties": {"configuration": {"ingress": {"traffic": wrong}}}},
        )
        status, _, answer = await clients.raw("PATCH", path, change)
        assert (status, answer["error"]["code"]) == (400, code)
    operations = clients.apps.container_apps_revisions
    await operations.deactivate_revision(group, "phi", "phi--one")
    one = await operations.get_revision(group, "phi", "phi--one")
    assert (one.properties.active, one.properties.replicas) == (False, one.properties.replicas)
    _, _, text = await clients.raw(
        "POST", f"{app_path(clients, group)}/revisions/phi--one/activate"
    )
    assert text == "Activate succeeded"
    with pytest.raises(ResourceNotFoundError):
        await operations.get_revision(group, "phi", "phi--none")


async def test_stop_and_start(clients, environment):
    """A stopped app says so and keeps its revision."""
    group, identifier = environment
    await settle(clients, group, body=app_body(identifier))
    await (await clients.apps.container_apps.begin_stop(group, "phi")).result()
    assert (await get(clients, group))["properties"]["runningStatus"] == "Stopped"
    await (await clients.apps.container_apps.begin_start(group, "phi")).result()
    assert (await get(clients, group))["properties"]["runningStatus"] == "Running"


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


async def test_an_environment_must_stand_before_apps(clients, environment):
    """An app in an environment that is still being made is refused as not provisioned."""
    group, _ = environment
    path = f"{clients.group(group)}/providers/Microsoft.App/managedEnvironments/slow"
    await clients.raw("PUT", path, {"location": "swedencentral", "properties": {}})
    assert await refused(clients, group, app_body(path)) == (
        409,
        "ManagedEnvironmentNotProvisioned",
    )


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


async def test_lists_come_in_pages(connected):
    """nextLink leads through all pages, for the SDK's iterators too."""
    other = await connected("--page-size", "2", "--operation-seconds", "0.01")
    for number in range(5):
        await other.resources.resource_groups.create_or_update(
            f"rg{number}", {"location": "eastus"}
        )
    assert [found.name async for found in other.resources.resource_groups.list()] == [
        f"rg{number}" for number in range(5)
    ]


async def test_realistic_waits_are_whole_seconds(connected):
    """With --retry-after the header is Azure's own, in seconds, and never zero."""
    other = await connected("--retry-after", "1", "--operation-seconds", "0.01")
    await other.resources.resource_groups.create_or_update("rg", {"location": "eastus"})
    _, headers, _ = await other.raw("DELETE", other.group("rg"))
    assert headers["Retry-After"] == "1"
    assert "retry-after-ms" not in headers
