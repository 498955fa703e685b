"""Environments, storages and container apps in ARM: what is accepted, what is shown, what makes a
revision. No replica is needed.
"""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.local_azure.app_documents import (
    app_body,
    app_path,
    environment,  # noqa: F401 - fixtures
    get,
    settle,
)


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
    """Anything under template does; configuration, tags and a repeated PUT do not; a used suffix
    is refused.
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
    with pytest.raises(HttpResponseError, match="already exists with another template"):
        await settle(
            clients, group, patch={"properties": {"template": {"scale": {"maxReplicas": 2}}}}
        )
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


async def test_an_empty_list_of_exposed_headers_comes_back_as_null(clients, environment):
    """Azure keeps no empty `exposeHeaders`; the other lists of the CORS policy stay as sent."""
    group, identifier = environment
    body = app_body(identifier)
    cors = {"allowedOrigins": ["https://a.example"], "allowedHeaders": [], "exposeHeaders": []}
    body["properties"]["configuration"]["ingress"]["corsPolicy"] = cors
    await settle(clients, group, body=body)
    shown = (await get(clients, group))["properties"]["configuration"]["ingress"]["corsPolicy"]
    assert shown["exposeHeaders"] is None
    assert shown["allowedHeaders"] == []
    assert shown["allowedOrigins"] == ["https://a.example"]
