"""Where and whether replicas start: GPU quota, scale to and from zero, the ingress's limit, and
volumes whose key or share changed.
"""

import asyncio
import time

import aiohttp
import pytest

from tests.local_azure.ground import (
    GPU,
    App,
    app_body,
    browser,
    key_of,
    lay_ground,
    register,
    template,
    until,
)

A100 = {
    "ManagedEnvironmentConsumptionNCA100Gpus": "environment",
    "SubscriptionConsumptionNCA100Gpus": "region",
}


@pytest.fixture(scope="module")
def running(make_azure, images):
    """Sixty of Azure's seconds pass for replicas in one of ours: the ingress cuts after 4 s. One
    A100 in each environment.
    """
    quota = ("--quota", "ManagedEnvironmentConsumptionNCA100Gpus=1")
    return make_azure(
        "--operation-seconds", "0.05", "--images", str(images), "--speed", "60", *quota
    )


@pytest.fixture
async def clients(running, connected_to, stack):
    return await connected_to(running, stack)


@pytest.fixture
async def http(running, stack):
    return await stack.enter_async_context(browser(running))


async def usages(clients, group):
    """(used, limit) of the A100 quota in the environment and in the region."""
    environment = [
        entry async for entry in clients.apps.managed_environment_usages.list(group, "cae")
    ]
    region = [entry async for entry in clients.apps.usages.list("swedencentral")]
    return {
        A100[each.name.value]: (each.current_value, each.limit)
        for each in environment + region
        if each.name.value in A100
    }


async def test_gpu_quota_is_met_when_a_replica_is_placed(clients, http):
    """The second app is created like the first; its replica waits at AssigningReplica until the
    first one's GPU is free.
    """
    environment = await lay_ground(clients, "rg-gpu", profiles=[GPU])
    first, second = App(clients, "rg-gpu", "first"), App(clients, "rg-gpu", "second")
    await first.put(app_body(environment, profile="gpu", scale={"cooldownPeriod": 36000}))
    await first.healthy()
    assert await usages(clients, "rg-gpu") == {"environment": (1, 1), "region": (1, 2)}
    created = await second.put(app_body(environment, profile="gpu"))
    assert created.provisioning_state == "Succeeded"
    waiting = await second.state("Processing")
    assert (waiting["provisioningState"], waiting["healthState"], waiting["replicas"]) == (
        "Provisioning",
        "None",
        0,
    )
    assert await second.replicas() == []
    assert [reason for reason, _ in await second.events(http)] == ["AssigningReplica"]
    late = await second.state("ActivationFailed")
    assert late["provisioningError"] == "Deployment Progress Deadline Exceeded. 0/1 replicas ready."
    await first.delete()
    await second.healthy()
    assert await usages(clients, "rg-gpu") == {"environment": (1, 1), "region": (1, 2)}
    await second.delete()

    async def free():
        return await usages(clients, "rg-gpu") == {"environment": (0, 1), "region": (0, 2)}

    await until(free)


async def test_a_rollout_without_a_second_gpu_hangs_and_the_old_revision_serves(clients, http):
    """Single mode wants both replicas at once; a CPU profile of the same environment has no such
    trouble.
    """
    environment = await lay_ground(clients, "rg-surge", profiles=[GPU])
    app, cpu = App(clients, "rg-surge", "web"), App(clients, "rg-surge", "cpu")
    await app.put(app_body(environment, "blue", profile="gpu"))
    await app.served(http, "blue")
    await app.patch(template=template("green"))
    await app.state("Processing")
    await cpu.put(app_body(environment, "red", profile="Consumption"))
    await cpu.served(http, "red")
    assert (await app.ask(http))["env"]["COLOUR"] == "blue"
    await app.patch(configuration={"activeRevisionsMode": "Multiple"})
    old = (await app.get()).latest_ready_revision_name
    await clients.apps.container_apps_revisions.deactivate_revision("rg-surge", "web", old)
    await app.served(http, "green")


async def test_a_loading_model_is_killed_by_a_cooldown_shorter_than_its_boot(clients, http):
    """A revision boots once even with minReplicas 0; the cooldown counts from there, and what is
    not ready by then goes.
    """
    environment = await lay_ground(clients, "rg-cool")
    quick, slow = App(clients, "rg-cool", "quick"), App(clients, "rg-cool", "slow")
    scale = {"minReplicas": 0, "cooldownPeriod": 120}
    await slow.put(app_body(environment, boot=30, scale=scale))
    await quick.put(app_body(environment, scale=scale))
    await quick.healthy()
    asleep = await quick.state("ScaledToZero")
    assert (asleep["healthState"], asleep["replicas"]) == ("Healthy", 0)
    failed = await slow.state("ActivationFailed")
    assert (failed["healthState"], failed["replicas"]) == ("Unhealthy", 0)
    reasons = [reason for reason, _ in await slow.events(http)]
    assert reasons.index("ContainerStarted") < reasons.index("KEDAScaleTargetDeactivated")
    found = await quick.ask(http)
    assert found["env"]["COLOUR"] == "blue", "the first request after zero waits for a replica"
    await quick.state("ScaledToZero")


async def test_the_ingress_gives_up_after_four_minutes(clients, http):
    """A request that waits for a cold start longer than 240 s is answered 504."""
    environment = await lay_ground(clients, "rg-limit")
    app = App(clients, "rg-limit", "web")
    await app.put(app_body(environment, boot=60, scale={"minReplicas": 0, "cooldownPeriod": 36000}))
    fqdn = (await app.get()).configuration.ingress.fqdn

    async def cut():
        began = time.monotonic()
        try:
            async with http.get(f"https://{fqdn}/") as answer:
                assert (answer.status, await answer.text()) == (504, "stream timeout")
                return time.monotonic() - began
        except aiohttp.ClientConnectorError:
            return 0

    assert await until(cut) >= 4
    assert (await app.revision())["runningState"] == "Activating"


async def test_a_rotated_key_keeps_running_mounts_and_refuses_new_ones(clients, http):
    """The replica that has the share keeps it; a further one starts only when the storage has a key
    that is valid.
    """
    environment = await lay_ground(clients, "rg-rotate", "strotate")
    app = App(clients, "rg-rotate", "web")
    await app.put(app_body(environment, mounted=True))
    await app.served(http, "blue")
    await clients.storage.storage_accounts.regenerate_key(
        "rg-rotate", "strotate", {"keyName": "key1"}
    )
    assert (await app.ask(http))["share"] == ["model.bin"]
    name = (await app.get()).latest_revision_name
    await clients.apps.container_apps_revisions.restart_revision("rg-rotate", "web", name)

    async def refused():
        return [message for reason, message in await app.events(http) if reason == "FailedMount"]

    (message, *_) = await until(refused)
    assert message.startswith('MountVolume.SetUp failed for volume "share"')
    assert message.endswith("Output: mount error(13): Permission denied")
    assert (await app.ask(http))["share"] == ["model.bin"], (
        "the old replica stays until the new one is ready"
    )
    assert any(
        "FailedMount" in (replica.containers[0].running_state_details or "")
        for replica in await app.replicas()
    )
    await register(
        clients, "rg-rotate", "strotate", "phi", await key_of(clients, "rg-rotate", "strotate")
    )
    before = (await app.ask(http))["env"]["CONTAINER_APP_REPLICA_NAME"]

    async def replaced():
        return (await app.ask(http))["env"]["CONTAINER_APP_REPLICA_NAME"] != before

    await until(replaced)


async def test_a_share_that_comes_back_is_there_again(clients, http):
    """A running replica sees the new share's files at the same path, without a restart."""
    environment = await lay_ground(clients, "rg-back", "stback")
    app = App(clients, "rg-back", "web")
    await app.put(app_body(environment, mounted=True))
    await app.served(http, "blue")
    assert (await app.ask(http))["share"] == ["model.bin"]
    await clients.storage.file_shares.delete("rg-back", "stback", "phi")

    async def lost():
        return (await app.ask(http))["share"] == []

    await until(lost)
    await clients.storage.file_shares.create("rg-back", "stback", "phi", {"properties": {}})
    folder = clients.azure.state / "files" / "stback" / "phi" / "sub"
    folder.mkdir()
    (folder / "adapter.bin").write_text("new")

    async def back():
        return (await app.ask(http))["share"] == ["adapter.bin"]

    await until(back)
    assert [replica.containers[0].restart_count for replica in await app.replicas()] == [0]


async def test_the_ingress_moves_with_its_port_sticks_and_redirects(clients, http):
    """A changed targetPort is another way into the same replica; a sticky client keeps its replica;
    HTTP is sent to HTTPS.
    """
    environment = await lay_ground(clients, "rg-edge")
    app = App(clients, "rg-edge", "web")
    two = {"minReplicas": 2, "maxReplicas": 2}
    await app.put(
        app_body(environment, scale=two, ingress={"stickySessions": {"affinity": "sticky"}})
    )
    await app.served(http, "blue")
    await until(lambda: _both(app))
    fqdn = (await app.get()).configuration.ingress.fqdn
    async with http.get(f"https://{fqdn}/") as answer:
        cookie = answer.headers["Set-Cookie"]
        first = (await answer.json(content_type=None))["env"]["CONTAINER_APP_REPLICA_NAME"]
    assert cookie.startswith("acaAffinity=")
    held = {"Cookie": cookie.partition(";")[0]}
    names = {
        (await app.ask(http, headers=held))["env"]["CONTAINER_APP_REPLICA_NAME"] for _ in range(12)
    }
    assert names == {first}

    async with http.get(f"http://{fqdn}/x?y=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, f"https://{fqdn}/x?y=1")
    await app.patch(configuration={"ingress": {"allowInsecure": True, "stickySessions": None}})

    async def plain():
        async with http.get(f"http://{fqdn}/", allow_redirects=False) as answer:
            return (
                answer.status == 200
                and (await answer.json(content_type=None))["headers"]["X-Forwarded-Proto"] == "http"
            )

    await until(plain)

    await app.patch(configuration={"ingress": {"targetPort": 8001}})
    await until(lambda: _answers(app, http, 503))
    await app.patch(configuration={"ingress": {"targetPort": 8000}})
    await until(lambda: _answers(app, http, 200))


async def _both(app):
    return sum(replica.containers[0].ready for replica in await app.replicas()) == 2


async def _answers(app, http, status):
    found = await app.ask(http)
    return (200 if isinstance(found, dict) else found) == status


async def test_an_empty_directory_belongs_to_its_replica(clients, http):
    """EmptyDir volumes are writable, and no two replicas share one."""
    environment = await lay_ground(clients, "rg-empty")
    app = App(clients, "rg-empty", "web")
    body = app_body(
        environment,
        scale={"minReplicas": 2, "maxReplicas": 2},
        volumes=[{"name": "own", "storageType": "EmptyDir"}],
    )
    container = body["properties"]["template"]["containers"][0]
    container["volumeMounts"] = [{"volumeName": "own", "mountPath": "/mnt/share"}]
    container["command"][2] = (
        "open('/mnt/share/' + __import__('os').environ['CONTAINER_APP_REPLICA_NAME'], 'w')\n"
        + container["command"][2]
    )
    await app.put(body)
    await app.served(http, "blue")
    await until(lambda: _both(app))
    found = await asyncio.gather(*(app.ask(http) for _ in range(8)))
    assert {tuple(each["share"]) for each in found} == {
        (each["env"]["CONTAINER_APP_REPLICA_NAME"],) for each in found
    }


async def test_a_schedule_under_way_keeps_replicas_that_nobody_asks_for(clients):
    """By a custom rule of the type cron; beside it an app without one sleeps."""
    environment = await lay_ground(clients, "rg-cron")
    always = {"timezone": "Etc/UTC", "start": "0 0 1 1 *", "end": "59 23 31 12 *"}
    cron = {"type": "cron", "metadata": {**always, "desiredReplicas": "1"}}
    never = {**always, "start": always["end"], "end": always["start"], "desiredReplicas": "1"}
    for name, rule in (("timed", cron), ("idle", {**cron, "metadata": never})):
        scale = {
            "minReplicas": 0,
            "maxReplicas": 1,
            "cooldownPeriod": 60,
            "rules": [{"name": "schedule", "custom": rule}],
        }
        body = app_body(environment, "blue", scale=scale)
        await (
            await clients.apps.container_apps.begin_create_or_update("rg-cron", name, body)
        ).result()

    async def replicas(name):
        app = await clients.apps.container_apps.get("rg-cron", name)
        listing = clients.apps.container_apps_revision_replicas.list_replicas
        return (await listing("rg-cron", name, app.latest_revision_name)).value

    async def asleep():
        return not await replicas("idle")

    await until(asleep)
    await asyncio.sleep(2)  # two of Azure's minutes: a cooldown period more
    assert len(await replicas("timed")) == 1
