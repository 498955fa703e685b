"""What nothing names any more goes from the share, and nothing else does: a service whose code and
adapters change.
"""

import time
from contextlib import AsyncExitStack

import pytest

from reconciler.arm.apps import kept
from tests.e2e.outside import outside
from tests.e2e.stage import ask, environment, service

GROUP, ACCOUNT, SHARE = "rg-garbage", "stgarbage01", "phi"
OLD = "0123456789ab"
KEPT = {
    "models/mine/0123456789ab/weights": "a user's folder has no manifest",
    "models/tuned/checkpoint/.moorage.json": "its name is no digest",
    "code/rolled/0123456789ab/.moorage.json": "an app of somebody else has it in its template",
    "adapters/red/0123456789ab/.moorage.json": "a catalogue on the share names it",
    "services/tiny/fedcba987654/catalogue/1-1.json": "an app of somebody else runs that engine",
}
GONE = {
    "adapters/blue/0123456789ab/.moorage.json": "no catalogue names it",
    "adapters/blue/0123456789ab-bfloat16/.moorage.json": "no catalogue names it",
    "runtime/0123456789ab/.moorage.json": "no template has it",
    "services/tiny/0123456789ab/catalogue/1-1.json": "no template has that engine",
}
CATALOGUE = b'{"adapters": [{"path": "adapters/red/0123456789ab"}]}'


@pytest.fixture(scope="module")
def documents(stage):
    stage.code("web")
    stage.save(
        environment(resourceGroup=GROUP, storage={"accountName": ACCOUNT, "shareName": SHARE}),
        service("web"),
    )


async def test_only_what_nobody_names_goes(stage, documents):
    """Old adapters and engines are deleted and told; what runs, what a catalogue names, what a
    rollback may need and what is not ours stays.
    """
    up = stage.up(MOORAGE_GARBAGE_AFTER="3")
    await up.converged("web")
    async with outside(stage) as azure, AsyncExitStack() as stack:
        share = await azure.share(GROUP, ACCOUNT, SHARE, stack)
        for path in (*KEPT, *GONE):
            await put(share, path)
        await foreign_app(azure)
        (first,) = await names(share, "code/web")
        stage.code("web", "two")
        await up.settled_on("web", version="two")
        deadline = time.monotonic() + 90
        while missing := [path for path in GONE if await share.get_file_client(path).exists()]:
            assert time.monotonic() < deadline, missing
        assert first in await names(share, "code/web"), "a rollback may need it"
        kept = {path: await share.get_file_client(path).exists() for path in KEPT}
        assert all(kept.values()), {KEPT[path] for path, there in kept.items() if not there}
    told = [event.message for event in stage.events() if event.reason == "GarbageCollected"]
    assert any(message.startswith(f"runtime/{OLD} is deleted from the share") for message in told)
    stage.moorage("rollback", "web")
    await up.until(lambda: serves(up, "one"), what="the version before")
    up.end()


def serves(up, version):
    document = up.document("web")
    return ask(document["endpoint"], up.stage.ca)["version"] == version


def test_the_newest_generations_are_kept():
    """Active revisions, however old, and the newest ones, however Azure sorts them."""
    revisions = [{"createdTime": f"2026-01-{day:02}", "active": day == 1} for day in (3, 1, 4, 2)]
    found = [each["createdTime"][-1] for each in kept(revisions, 2)]
    assert found == ["4", "3", "1"]
    assert [each["createdTime"][-1] for each in kept(revisions, 0)] == ["1"]


async def put(share, path):
    folder = ""
    for name in path.split("/")[:-1]:
        folder = f"{folder}/{name}".strip("/")
        directory = share.get_directory_client(folder)
        if not await directory.exists():
            await directory.create_directory()
    await share.get_file_client(path).upload_file(CATALOGUE)


async def names(share, folder):
    return [
        item["name"]
        async for item in share.get_directory_client(folder).list_directories_and_files()
    ]


async def foreign_app(azure):
    """An app of another tool in the same environment: its first revision runs the old code, its
    second one an engine.
    """
    found = await azure.apps.managed_environments.get(GROUP, "cae-default")
    for suffix, path in (("one", f"code/rolled/{OLD}"), ("two", "services/tiny/fedcba987654")):
        container = {
            "name": "other",
            "image": "python:3.11",
            "volumeMounts": [{"volumeName": "share", "mountPath": "/mnt", "subPath": path}],
        }
        template = {
            "revisionSuffix": suffix,
            "containers": [container],
            "scale": {"minReplicas": 0, "maxReplicas": 1},
            "volumes": [{"name": "share", "storageType": "AzureFile", "storageName": "moorage"}],
        }
        body = {
            "location": "swedencentral",
            "properties": {
                "environmentId": found.id,
                "configuration": {"activeRevisionsMode": "Multiple"},
                "template": template,
            },
        }
        await (
            await azure.apps.container_apps.begin_create_or_update(GROUP, "other", body)
        ).result()
