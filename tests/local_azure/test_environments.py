"""Managed environments: their operations, profiles, quotas and storages."""

import pytest
from azure.core.exceptions import ResourceExistsError

from tests.local_azure.app_documents import (
    app_body,
    environment,  # noqa: F401 - fixtures
    refused,
    settle,
)


async def test_an_environment_is_an_operation_and_the_same_put_is_none(
    clients, environment, slow_operations
):
    """201 with Azure-AsyncOperation, Consumption appended, display location; unchanged 200; PATCH
    202 by Location, of the identity alone too; tags at once.
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
    owned = {"identity": {"type": "SystemAssigned"}}
    status, headers, body = await clients.raw("PATCH", identifier, owned)
    assert (status, body) == (202, None)
    while (polled := await clients.raw("GET", headers["Location"]))[0] == 202:
        pass
    assert polled[2]["identity"]["type"] == "SystemAssigned"
    assert (await clients.raw("PATCH", identifier, owned))[0] == 200, "nothing changes"
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


async def test_an_environment_must_stand_before_apps(clients, environment):
    """An app in an environment that is still being made is refused as not provisioned."""
    group, _ = environment
    path = f"{clients.group(group)}/providers/Microsoft.App/managedEnvironments/slow"
    await clients.raw("PUT", path, {"location": "swedencentral", "properties": {}})
    assert await refused(clients, group, app_body(path)) == (
        409,
        "ManagedEnvironmentNotProvisioned",
    )
