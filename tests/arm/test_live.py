"""Every typed write and action, in Azure's order, against the local Azure: what is sent is what a
later read shows.
"""

import asyncio
import secrets

import pytest

from reconciler.api.kinds import Kind
from reconciler.arm import apps, environments, ids, logs, providers, resources, storage
from reconciler.engine.errors import Busy, RetryableError, TerminalError

HERE = {"location": "swedencentral"}
IMAGE = "python:3.11-slim"


@pytest.fixture
async def group(live):
    name = f"rg-{secrets.token_hex(3)}"
    await resources.put_resource_group(live, name, {**HERE, "tags": {"a": "b"}})
    return name


@pytest.fixture
async def environment(live, group, finished):
    body = {
        **HERE,
        "properties": {
            "workloadProfiles": [{"name": "Consumption", "workloadProfileType": "Consumption"}]
        },
    }
    await finished(live, await environments.put_environment(live, group, "cae", body))
    return "cae"


def app_body(live, group, **template):
    container = {"name": "web", "image": IMAGE, "command": ["python3", "-m", "http.server", "8000"]}
    return {
        **HERE,
        "properties": {
            "environmentId": ids.environment(live.subscription_id, group, "cae"),
            "configuration": {
                "activeRevisionsMode": "Multiple",
                "secrets": [{"name": "key", "value": "hush"}],
            },
            "template": {
                "containers": [container],
                "scale": {"minReplicas": 0, "maxReplicas": 1},
                **template,
            },
        },
    }


async def test_a_resource_group_shows_in_its_list_right_after_the_write(live, group, finished):
    """The write drops the cached list."""
    scope = ids.subscription(live.subscription_id)
    assert (await live.inventory.find(Kind.RESOURCE_GROUP, scope, group.upper()))["tags"] == {
        "a": "b"
    }
    await finished(live, await resources.delete_resource_group(live, group))
    assert await live.inventory.find(Kind.RESOURCE_GROUP, scope, group) is None
    assert await resources.delete_resource_group(live, group) is None


async def test_a_workspace_and_its_key(live, group, finished):
    """Created, read, given its key, deleted twice."""
    await finished(
        live,
        await resources.put_workspace(
            live, group, "law-x", {**HERE, "properties": {"retentionInDays": 30}}
        ),
    )
    scope = ids.resource_group(live.subscription_id, group)
    found = await live.inventory.get(Kind.WORKSPACE, scope, "law-x")
    assert found["properties"]["provisioningState"] == "Succeeded"
    assert await resources.workspace_shared_key(live, group, "law-x")
    await finished(live, await resources.delete_workspace(live, group, "law-x"))
    await finished(live, await resources.delete_workspace(live, group, "law-x"))
    assert await live.inventory.find(Kind.WORKSPACE, scope, "law-x") is None


async def test_an_account_and_a_share(live, group, finished):
    """Keys, a share with metadata, and deletes."""
    name = f"st{secrets.token_hex(5)}"
    account = {**HERE, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": {}}
    await finished(live, await storage.put_storage_account(live, group, name, account))
    assert len(await storage.storage_keys(live, group, name)) == 2
    await storage.patch_storage_account(live, group, name, {"tags": {"x": "y"}})
    await storage.put_share(
        live, group, name, "phi", {"properties": {"shareQuota": 5, "metadata": {"one": "1"}}}
    )
    await storage.patch_share(live, group, name, "phi", {"properties": {"shareQuota": 6}})
    scope = ids.storage_account(live.subscription_id, group, name)
    assert (await live.inventory.get(Kind.SHARE, scope, "phi"))["properties"]["shareQuota"] == 6
    assert [each["name"] for each in await live.inventory.list(Kind.SHARE, scope)] == ["phi"]
    await storage.delete_share(live, group, name, "phi")
    await storage.delete_storage_account(live, group, name)
    assert await storage.delete_storage_account(live, group, name) is None


async def test_an_environment_and_its_storage(live, group, environment, finished):
    """Storage is synchronous and hides its key; usages can be read; an environment that is gone may
    be deleted again.
    """
    file = {
        "accountName": "stx",
        "accountKey": "a2V5",
        "shareName": "phi",
        "accessMode": "ReadOnly",
    }
    await environments.put_env_storage(
        live, group, environment, "phi", {"properties": {"azureFile": file}}
    )
    scope = ids.environment(live.subscription_id, group, environment)
    seen = (await live.inventory.find(Kind.STORAGE, scope, "phi"))["properties"]["azureFile"]
    assert (seen["shareName"], "accountKey" in seen) == ("phi", False)
    other = {"properties": {"azureFile": {**file, "shareName": "other"}}}
    with pytest.raises(TerminalError):
        await environments.put_env_storage(live, group, environment, "phi", other)
    await finished(
        live, await environments.patch_environment(live, group, environment, {"tags": {"x": "y"}})
    )
    assert isinstance(await environments.environment_usages(live, group, environment), list)
    assert isinstance(await environments.location_usages(live, "swedencentral"), list)
    await environments.delete_env_storage(live, group, environment, "phi")
    await finished(live, await environments.delete_environment(live, group, environment))
    assert await environments.delete_environment(live, group, environment) is None


async def test_an_app_its_secrets_and_its_revisions(live, group, environment, finished):
    """Create, merge-patch, secrets by action only, revisions in order, deactivate, delete."""
    operation = await apps.put_app(live, group, "phi", app_body(live, group))
    with pytest.raises(Busy):
        await apps.patch_app(live, group, "phi", {"tags": {"too": "early"}})
    await finished(live, operation)
    scope = ids.resource_group(live.subscription_id, group)
    found = await live.inventory.get(Kind.APP, scope, "phi")
    assert found["properties"]["configuration"]["secrets"] == [{"name": "key"}]
    assert await apps.list_secrets(live, group, "phi") == {"key": "hush"}
    changed = {
        "properties": {
            "template": app_body(live, group, revisionSuffix="two")["properties"]["template"]
        }
    }
    await finished(live, await apps.patch_app(live, group, "phi", changed))
    names = [each["name"] for each in await apps.list_revisions(live, group, "phi")]
    assert len(names) == 2
    assert names[-1] == "phi--two"
    await apps.deactivate_revision(live, group, "phi", names[0])
    active = {
        each["name"]: each["properties"]["active"]
        for each in await apps.list_revisions(live, group, "phi")
    }
    assert active == {names[0]: False, names[1]: True}
    assert isinstance(await apps.list_replicas(live, group, "phi", names[1]), list)
    with pytest.raises(RetryableError):
        await finished(live, await environments.delete_environment(live, group, environment))
    await finished(live, await apps.delete_app(live, group, "phi"))
    assert await apps.delete_app(live, group, "phi") is None
    assert await live.inventory.find(Kind.APP, scope, "phi") is None


async def test_console_and_events_of_a_running_replica(live, group, environment, finished):
    """With one replica running, its output and the app's events come through the streams that `az`
    uses.
    """
    body = app_body(live, group)
    container = body["properties"]["template"]["containers"][0]
    container["command"] = [
        "python3",
        "-u",
        "-c",
        "import time; print('line one'); print('line two'); time.sleep(60)",
    ]
    body["properties"]["template"]["scale"]["minReplicas"] = 1
    await finished(live, await apps.put_app(live, group, "phi", body))
    token = await logs.log_token(live, group, "phi")
    app = await live.inventory.get(Kind.APP, ids.resource_group(live.subscription_id, group), "phi")
    revision = app["properties"]["latestRevisionName"]
    scope = ids.revision(live.subscription_id, group, "phi", revision)
    async with asyncio.timeout(90):
        while not (replicas := await live.list_json(f"{scope}/replicas", "2026-07-01")):
            await asyncio.sleep(0.2)
        endpoint = replicas[0]["properties"]["containers"][0]["logStreamEndpoint"]
        seen = []
        async for line in logs.stream_logs(live, endpoint, token, follow=True, tail=300):
            seen.append(line)
            if "line two" in line:
                break
    assert any("line one" in line for line in seen)
    events = logs.event_endpoint(live, group, "phi", app["properties"]["eventStreamEndpoint"])
    assert [line async for line in logs.stream_logs(live, events, token, follow=False, tail=300)]
    await finished(live, await apps.delete_app(live, group, "phi"))


async def test_providers_and_groups_can_be_asked(live, group):
    """What is known before the first write, and before a group is deleted."""
    assert await providers.provider_state(live, "Microsoft.App") == "Registered"
    assert isinstance(await resources.list_in_group(live, group), list)
