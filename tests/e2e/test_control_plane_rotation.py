"""A rotated storage key: the share is registered anew, services move there by a revision, and nobody's request fails."""

import json

import pytest

from infra.local_azure.faults import commands
from tests.e2e.load import Load
from tests.e2e.outside import outside
from tests.e2e.stage import environment, service

GROUP, ENVIRONMENT, ACCOUNT = "rg-rotation", "cae-rotation", "strotation01"
SCRIPT = {"seed": 1, "faults": [{"fault": "StaleMountKey"}]}


@pytest.fixture(scope="module")
def up(stage):
    """A service; a storage that is given another key can be mounted no more."""
    (stage.root / "faults.json").write_text(json.dumps(SCRIPT))
    assert commands.load(stage.azure_dir / "faults.db", stage.root / "faults.json") == 0
    stage.code("web")
    stage.save(
        environment(
            resourceGroup=GROUP, storage={"accountName": ACCOUNT}, managedEnvironment={"name": ENVIRONMENT, "storageName": "phi"}
        ),
        service("web"),
    )
    up = stage.up(resync=5)
    yield up
    stage.started[-1].kill()


async def rotate(azure):
    await azure.storage.storage_accounts.regenerate_key(GROUP, ACCOUNT, {"keyName": "key1"})


async def registered(azure):
    listed = await azure.apps.managed_environments_storages.list(GROUP, ENVIRONMENT)
    return {each.name for each in listed.value}


async def mounted(azure):
    app = await azure.apps.container_apps.get(GROUP, "web")
    return {volume.storage_name for volume in app.template.volumes}


async def moved(azure, up, before):
    """Wait until the service has left `before`, and nothing else is registered."""
    await up.until(lambda: up.document("web")["revisions"][0]["name"] != before, 60, "another revision")
    await up.settled_on("web")
    await up.converged()
    (name,) = await mounted(azure)
    assert await registered(azure) == {name, f"{name}-rw"}
    return name


def revision(up):
    (found,) = up.document("web")["revisions"]
    return found["name"]


async def test_a_rotation_costs_no_request(stage, up):
    """While clients go on asking, the service moves to a newly registered share; the old registration goes."""
    await up.settled_on("web", version="one")
    async with outside(stage) as azure, Load(up.document("web")["endpoint"], stage.ca) as load:
        assert await registered(azure) == {"phi", "phi-rw"}
        before = revision(up)
        await rotate(azure)
        name = await moved(azure, up, before)
        assert name.startswith("phi-")
        await load.reaches(len(load.answers) + 20)
    assert load.failures == []
    assert set(load.seen("revision")) == {before, revision(up)}
    told = [event for event in stage.events() if event.reason == "StorageKeyRotated"]
    assert [(event.object, name in event.message) for event in told] == [("Environment/default", True)]
