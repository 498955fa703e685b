"""A rotated storage key: the share is registered again, services move there by a revision, and
nobody's request fails.
"""

import asyncio

import pytest

from tests.e2e.load import Load
from tests.e2e.outside import outside
from tests.e2e.stage import environment, is_converged, service

GROUP, ENVIRONMENT, ACCOUNT = "rg-rotation", "cae-rotation", "strotation01"


def ground():
    managed = {"name": ENVIRONMENT, "storageName": "phi"}
    return environment(
        resourceGroup=GROUP, storage={"accountName": ACCOUNT}, managedEnvironment=managed
    )


@pytest.fixture(scope="module")
def up(stage):
    """Two services, one of which sleeps when nobody asks; a storage that is given another key can
    be mounted no more.
    """
    stage.script({"fault": "StaleMountKey"}, seed=1)
    stage.code("web")
    stage.code("nap")
    stage.save(
        ground(),
        service("web"),
        service("nap", scale={"minReplicas": 0, "maxReplicas": 1}),
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
    await up.until(
        lambda: up.document("web")["revisions"][0]["name"] != before, 60, "another revision"
    )
    await up.settled_on("web")
    await up.converged()
    (name,) = await mounted(azure)
    assert await registered(azure) == {name, f"{name}-rw"}
    return name


def revision(up):
    """The newest of the service."""
    return up.document("web")["revisions"][0]["name"]


async def test_a_rotation_costs_no_request(stage, up):
    """While clients go on asking, the service moves to a newly registered share; the old
    registration goes.
    """
    await up.settled_on("web", version="one")
    async with outside(stage) as azure, Load(up.document("web")["endpoint"], stage.ca) as load:
        assert await registered(azure) == {"phi", "phi-rw"}
        before, mark = revision(up), len(stage.journal())
        await rotate(azure)
        name = await moved(azure, up, before)
        assert name.startswith("phi-")
        await load.reaches(len(load.answers) + 20)
    assert load.failures == []
    assert set(load.seen("revision")) == {before, revision(up)}
    assert writes_of("phi", stage, mark) == ["PUT 200", "DELETE 200"], (
        "a new key, and no delete in vain"
    )
    assert not [event for event in stage.events() if event.reason == "DriftFound"]
    told = [event for event in stage.events() if event.reason == "StorageKeyRotated"]
    assert [(event.object, name in event.message) for event in told] == [
        ("Environment/default", True)
    ]


def writes_of(storage, stage, since):
    """What Moorage did to a storage of the environment: method and status."""
    found = [write.split() for write in stage.writes(since)]
    return [
        f"{method} {status}"
        for method, path, status in found
        if path.endswith(f"/{ENVIRONMENT}/storages/{storage}")
    ]


async def test_nothing_moves_without_a_rotation(stage, up):
    """A daemon that has lost its memory finds the share registered under the key of now, and
    changes nothing.
    """
    up.kill()
    forget(stage)
    mark = len(stage.journal())
    with stage.watching(resync=2) as again:
        await again.converged()
        plan = stage.json("plan", "-f", str(stage.manifest))["changes"]
        assert [line for line in plan if line["action"] != "no-op"] == []
    assert stage.writes(mark) == []


async def test_a_second_rotation_survives_death_and_oblivion(stage, up):
    """The key is rotated while no daemon runs. The next one is killed as soon as the share is
    registered again, and its memory is lost; what comes after ends the move, and code goes on to be
    published.
    """
    up.kill()
    async with outside(stage) as azure, Load(await endpoint(azure), stage.ca) as load:
        before = await mounted(azure)
        await rotate(azure)
        dying = stage.up()
        async with asyncio.timeout(60):
            while len(await registered(azure)) < 3:
                await asyncio.sleep(0.02)
        dying.kill()
        forget(stage)
        with stage.watching(resync=5) as heir:
            await heir.settled_on("web")
            await heir.until(
                lambda: (
                    heir.document("web") and is_converged(heir.document("default", "Environment"))
                )
            )
            (after,) = await mounted(azure)
            assert {after} != before
            assert await registered(azure) == {after, f"{after}-rw"}
            stage.code("web", version="two")
            await heir.settled_on("web", version="two")
    assert load.failures == []
    assert set(load.seen("version")) == {"one", "two"}


@pytest.mark.slow
async def test_what_others_registered_stays(make_stage):
    """A storage that somebody else made and mounts is mounted until the key is rotated, and neither
    written nor deleted.
    """
    stage = make_stage()
    stage.code("web")
    stage.save(ground(), service("web"))
    stage.once()
    async with outside(stage) as azure:
        theirs = await azure.apps.managed_environments_storages.get(GROUP, ENVIRONMENT, "phi")
        stage.moorage("down", "-y")
        consumption = {"location": "swedencentral", "properties": {}}
        await (
            await azure.apps.managed_environments.begin_create_or_update(
                GROUP, ENVIRONMENT, consumption
            )
        ).result()
        keys = await azure.storage.storage_accounts.list_keys(GROUP, ACCOUNT)
        theirs.properties.azure_file.account_key, theirs.properties.azure_file.access_mode = (
            keys["keys"][0]["value"],
            "ReadWrite",
        )
        await azure.apps.managed_environments_storages.create_or_update(
            GROUP, ENVIRONMENT, "phi", theirs
        )
        mark = len(stage.journal())
        with stage.watching(resync=5) as up:
            await up.converged()
            assert await registered(azure) == {"phi", "phi-rw"}
            before = revision(up)
            await rotate(azure)
            await up.until(lambda: revision(up) != before, 60, "another revision")
            await up.converged()
            (name,) = await mounted(azure)
            assert await registered(azure) == {"phi", name, f"{name}-rw"}
        assert writes_of("phi", stage, mark) == []
        assert [event for event in stage.events() if event.reason == "DriftFound"] == []


async def endpoint(azure):
    app = await azure.apps.container_apps.get(GROUP, "web")
    return f"https://{app.configuration.ingress.fqdn}"


def forget(stage):
    """Lose the daemon's memory."""
    for file in (stage.state / "daemon" / "local").glob("state.db*"):
        file.unlink()
