"""Changes behind Moorage's back, made with the Azure SDK, are noticed and put right within one
resync, and told by field.
"""

import time
from collections import Counter
from contextlib import AsyncExitStack, suppress

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.fileshare.aio import ShareLeaseClient

from tests.e2e.outside import outside
from tests.e2e.stage import environment, service

GROUP, APP, ENVIRONMENT, ACCOUNT, SHARE = "rg-drift", "web", "cae-drift", "stdrift01", "phi"
INGRESS = "properties.configuration.ingress"
RESYNC = 2.0


@pytest.fixture(scope="module")
def up(stage):
    """A service in an Environment with names that the tests know."""
    stage.code("web")
    stage.save(
        environment(
            resourceGroup=GROUP,
            storage={"accountName": ACCOUNT, "shareName": SHARE},
            managedEnvironment={"name": ENVIRONMENT},
            logAnalytics={"name": "law-drift"},
            tags={"team": "red"},
        ),
        service("web"),
    )
    up = stage.up(resync=RESYNC)
    yield up
    up.end()


async def delete_app(azure, stack):
    await (await azure.apps.container_apps.begin_delete(GROUP, APP)).result()


async def hide_app(azure, stack):
    patch = {"properties": {"configuration": {"ingress": {"external": False, "targetPort": 9999}}}}
    await (await azure.apps.container_apps.begin_update(GROUP, APP, patch)).result()


async def remove_ingress(azure, stack):
    await (
        await azure.apps.container_apps.begin_update(
            GROUP, APP, {"properties": {"configuration": {"ingress": None}}}
        )
    ).result()


async def single_mode(azure, stack):
    patch = {"properties": {"configuration": {"activeRevisionsMode": "Single"}}}
    await (await azure.apps.container_apps.begin_update(GROUP, APP, patch)).result()


async def foreign_revision(azure, stack):
    app = await azure.get(f"/resourceGroups/{GROUP}/providers/Microsoft.App/containerApps/{APP}")
    template = app["properties"]["template"]
    suffix = f"foreign{time.time_ns() % 10**9}"
    template["containers"][0]["env"] = [{"name": "COLOUR", "value": suffix}]
    patch = {"properties": {"template": {**template, "revisionSuffix": suffix}}}
    await (await azure.apps.container_apps.begin_update(GROUP, APP, patch)).result()
    return f"{APP}--{suffix}"


async def traffic_to_a_foreign_revision(azure, stack):
    foreign = await foreign_revision(azure, stack)
    traffic = [{"revisionName": foreign, "weight": 100}]
    patch = {"properties": {"configuration": {"ingress": {"traffic": traffic}}}}
    await (await azure.apps.container_apps.begin_update(GROUP, APP, patch)).result()


async def deactivate_revision(azure, stack):
    revisions = [
        each async for each in azure.apps.container_apps_revisions.list_revisions(GROUP, APP)
    ]
    active = next(revision.name for revision in revisions if revision.active)
    await azure.apps.container_apps_revisions.deactivate_revision(GROUP, APP, active)


async def change_app_tags(azure, stack):
    await (
        await azure.apps.container_apps.begin_update(
            GROUP, APP, {"tags": {"moorage-document": "somebody"}}
        )
    ).result()


async def change_group_tags(azure, stack):
    group = await azure.resources.resource_groups.get(GROUP)
    await azure.resources.resource_groups.update(
        GROUP, {"tags": {**group.tags, "team": "blue", "theirs": "stays"}}
    )


async def delete_storage_link(azure, stack):
    await azure.apps.managed_environments_storages.delete(GROUP, ENVIRONMENT, "moorage-rw")


async def remove_profile(azure, stack):
    consumption = [{"name": "Consumption", "workloadProfileType": "Consumption"}]
    patch = {"location": "swedencentral", "properties": {"workloadProfiles": consumption}}
    await (await azure.apps.managed_environments.begin_update(GROUP, ENVIRONMENT, patch)).result()


async def send_logs_elsewhere(azure, stack):
    patch = {
        "location": "swedencentral",
        "properties": {"appLogsConfiguration": {"destination": "azure-monitor"}},
    }
    await (await azure.apps.managed_environments.begin_update(GROUP, ENVIRONMENT, patch)).result()


async def delete_workspace(azure, stack):
    await (await azure.logs.workspaces.begin_delete(GROUP, "law-drift")).result()


async def code_folder(azure, stack):
    share = await azure.share(GROUP, ACCOUNT, SHARE, stack)
    folder = share.get_directory_client("code/web")
    names = [item["name"] async for item in folder.list_directories_and_files()]
    return share, f"code/web/{names[0]}"


async def delete_file(azure, stack):
    share, folder = await code_folder(azure, stack)
    await share.get_file_client(f"{folder}/app.py").delete_file()


async def change_file(azure, stack):
    share, folder = await code_folder(azure, stack)
    client = share.get_file_client(f"{folder}/app.py")
    content = await (await client.download_file()).readall()
    await client.upload_file(content.replace(b"one", b"two"))


async def delete_share(azure, stack):
    """The lease of the daemon protects it; whoever breaks that means it."""
    share = await azure.share(GROUP, ACCOUNT, SHARE, stack)
    with suppress(ResourceExistsError):  # one that was made a moment ago has no lease yet
        await ShareLeaseClient(share).break_lease(lease_break_period=0)
    await azure.storage.file_shares.delete(GROUP, ACCOUNT, SHARE)


async def delete_account(azure, stack):
    await azure.storage.storage_accounts.delete(GROUP, ACCOUNT)


async def shrink_share(azure, stack):
    await azure.storage.file_shares.update(GROUP, ACCOUNT, SHARE, {"properties": {"shareQuota": 7}})


async def delete_app_and_environment(azure, stack):
    await delete_app(azure, stack)
    await (await azure.apps.managed_environments.begin_delete(GROUP, ENVIRONMENT)).result()


async def delete_group(azure, stack):
    await (await azure.resources.resource_groups.begin_delete(GROUP)).result()


OBJECT = "(object)"
slow = pytest.mark.slow
CASES = [
    (delete_app, {"ContainerApp/web": OBJECT}),
    (hide_app, {"ContainerApp/web": f"{INGRESS}.targetPort"}),
    (remove_ingress, {"ContainerApp/web": f"{INGRESS}.external"}),
    (
        traffic_to_a_foreign_revision,
        {"ContainerApp/web": "properties.configuration.ingress.traffic"},
    ),
    (delete_storage_link, {"EnvironmentStorage/default/write": OBJECT}),
    (delete_file, {"PublishedFolder/web/code/web/": "files[app.py]"}),
    (change_file, {"PublishedFolder/web/code/web/": "files[app.py]"}),
    (change_group_tags, {"ResourceGroup/default": "tags.team"}),
    (
        send_logs_elsewhere,
        {"ManagedEnvironment/default": "properties.appLogsConfiguration.destination"},
    ),
    pytest.param(
        single_mode,
        {"ContainerApp/web": "properties.configuration.activeRevisionsMode"},
        marks=slow,
    ),
    pytest.param(
        foreign_revision,
        {"ContainerApp/web": "properties.template.containers[app].env[COLOUR]"},
        marks=slow,
    ),
    (deactivate_revision, {"ContainerApp/web": "revisions[web--"}),
    pytest.param(change_app_tags, {"ContainerApp/web": "tags.moorage-document"}, marks=slow),
    pytest.param(
        remove_profile,
        {"ManagedEnvironment/default": "properties.workloadProfiles[gpu]"},
        marks=slow,
    ),
    pytest.param(delete_workspace, {"LogAnalyticsWorkspace/default": OBJECT}, marks=slow),
    pytest.param(shrink_share, {"FileShare/default": "properties.shareQuota"}, marks=slow),
    pytest.param(
        delete_app_and_environment,
        {
            "ManagedEnvironment/default": OBJECT,
            "EnvironmentStorage/default/": OBJECT,
            "ContainerApp/web": OBJECT,
        },
        marks=slow,
    ),
]
BELOW = {"FileShare/default": OBJECT, "PublishedFolder/web/code/web/": OBJECT}
LOSSES = [
    (
        delete_group,
        {
            "ResourceGroup/default": OBJECT,
            "LogAnalyticsWorkspace/default": OBJECT,
            "StorageAccount/default": OBJECT,
            "ManagedEnvironment/default": OBJECT,
            "EnvironmentStorage/default/": OBJECT,
            "ContainerApp/web": OBJECT,
            **BELOW,
        },
    ),
    (delete_account, {"StorageAccount/default": OBJECT, **BELOW}),
    (delete_share, BELOW),
]
MOVING = {
    "EnvironmentStorage/default/": "a new account has other keys: the share is registered again"
}


@pytest.mark.parametrize(("harm", "expected"), CASES)
async def test_harm_is_put_right(stage, up, harm, expected):
    """Each harm is told as drift of the right object with the right field, of no other object, and
    undone.
    """
    await up.settled_on("web", version="one")
    before = drift(stage)
    async with outside(stage) as azure, AsyncExitStack() as stack:
        await harm(azure, stack)
    await up.until(
        lambda: told(stage, before, expected), 4 * RESYNC + 10, f"drift is told: {expected}"
    )
    await up.settled_on("web", version="one")
    assert strays(stage, before, expected) == set()


@pytest.mark.slow
@pytest.mark.vital
@pytest.mark.parametrize(("harm", "expected"), LOSSES)
async def test_a_loss_of_data_is_put_right(stage, up, harm, expected):
    """What can be made again from the documents is: a share, its account, all there is."""
    await up.settled_on("web", version="one")
    before = drift(stage)
    async with outside(stage) as azure, AsyncExitStack() as stack:
        await harm(azure, stack)
    await up.until(lambda: told(stage, before, expected), 30, f"drift is told: {expected}")
    await up.converged("default")
    assert strays(stage, before, {**expected, **MOVING}) == set()
    await up.settled_on("web", version="one", seconds=20)


def told(stage, before, expected):
    """Whether every drift that is to be told has been, with its field."""
    found = [*(drift(stage) - before)]
    return all(
        any(name.startswith(about) and field in " ".join(fields) for name, fields in found)
        for about, field in expected.items()
    )


def strays(stage, before, expected):
    """Objects of which drift was told and that nobody touched."""
    return {name for name, _ in drift(stage) - before if not name.startswith(tuple(expected))}


def test_nothing_is_left_to_do(stage, up):
    """After all of it the plan is empty."""
    plan = stage.json("plan", "-f", str(stage.manifest))["changes"]
    assert [line for line in plan if line["action"] != "no-op"] == []


def drift(stage):
    """How often each drift was told so far, by object and fields."""
    events = Counter()
    for event in stage.events():
        if event.reason == "DriftFound":
            events[event.object, event.fields] += event.count
    return events
