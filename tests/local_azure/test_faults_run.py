"""Scripted faults of what runs: sick replicas, no GPU quota, a share that cannot be mounted, the
edge. Real replicas over the real API.
"""

import json

import aiohttp
import pytest

from infra.local_azure.faults import commands
from tests.local_azure.ground import (
    GPU,
    App,
    app_body,
    browser,
    key_of,
    lay_ground,
    register,
    until,
)


@pytest.fixture
def script(azure, tmp_path):
    """Makes its arguments the whole script; nothing is left of it after the test."""

    def load(*entries):
        file = tmp_path / "faults.json"
        file.write_text(json.dumps(entries))
        assert commands.load(azure.state / "faults.db", file) == 0

    yield load
    load()


@pytest.fixture
async def app(clients):
    """An app with one replica that answers; deleted afterwards."""
    environment = await lay_ground(clients, "rg-sick")
    app = App(clients, "rg-sick", "web")
    await app.put(app_body(environment))
    await app.healthy()
    yield app
    await app.delete()


async def test_sick_replicas_recover_when_the_script_is_cleared(azure, app, script):
    """A crashing container restarts again and again, one never ready is taken out, one killed comes
    back; in the end all is well.
    """
    script({"fault": "ReplicaCrashes", "name": "w*"})

    async def crashing():
        replicas = await app.replicas()
        return replicas and replicas[0].properties.containers[0].restart_count >= 2

    await until(crashing)
    script()
    await app.healthy()
    script(
        {"fault": "ReplicaNeverReady", "name": "web"}, {"fault": "ReplicaCrashes", "name": "other"}
    )

    async def unready():
        return not (await app.replicas())[0].properties.containers[0].ready

    await until(unready)
    script()
    await app.healthy()
    before = (await app.replicas())[0].properties.containers[0].restart_count
    script({"fault": "ReplicaKilled", "name": "web", "times": 1})

    async def killed():
        return (await app.replicas())[0].properties.containers[0].restart_count > before

    await until(killed)
    await app.healthy()


async def test_a_hanging_replica_answers_nothing_and_its_probe_tells(azure, app, script):
    """The process lives and is silent: the liveness probe has it restarted, which does not help as
    long as it hangs.
    """
    script({"fault": "ReplicaHangs", "name": "web"})

    async def unready():
        return not (await app.replicas())[0].properties.containers[0].ready

    await until(unready)
    script()
    await app.healthy()


async def test_without_gpu_quota_a_new_replica_stays_unplaced(azure, clients, script):
    """Created all the same, usages say 0, the system log ends with AssigningReplica; quota given
    back, it runs.
    """
    environment = await lay_ground(clients, "rg-quota0", profiles=[GPU])
    script({"fault": "NoGpuQuota"})

    async def limit():
        path = (
            f"{clients.group('rg-quota0')}/providers/Microsoft.App/managedEnvironments/cae/usages"
        )
        usages = (await clients.raw("GET", path))[2]["value"]
        return next(
            u["limit"]
            for u in usages
            if u["name"]["value"] == "ManagedEnvironmentConsumptionNCA100Gpus"
        )

    async def none_left():
        return await limit() == 0

    await until(none_left)
    app = App(clients, "rg-quota0", "gpu")
    await app.put(app_body(environment, profile="gpu"))
    async with browser(azure) as http:
        assert [reason for reason, _ in await app.events(http)][-1] == "AssigningReplica"
    script()
    await app.healthy()
    assert await limit() == 2
    await app.delete()


async def test_a_share_out_of_reach_cannot_be_mounted(azure, clients, script):
    """The replica waits with mount error(112) and starts when the share is back."""
    environment = await lay_ground(clients, "rg-mount", "stmount01")
    script({"fault": "ShareUnreachable", "name": "stmount01/*", "plane": "mount"})
    app = App(clients, "rg-mount", "web")
    await app.put(app_body(environment, mounted=True))
    async with browser(azure) as http:

        async def told():
            return any(
                "mount error(112): Host is down" in message for _, message in await app.events(http)
            )

        await until(told, 60)
    script()
    await app.healthy()
    await app.delete()


async def test_a_key_changed_in_place_can_be_refused(azure, clients, script):
    """What runs keeps its mount. New replicas get mount error(13) under the name whose key was
    changed, and start under a new one.
    """
    environment = await lay_ground(clients, "rg-stale", "ststale01")
    app = App(clients, "rg-stale", "web")
    await app.put(app_body(environment, mounted=True))
    await app.healthy()
    script({"fault": "StaleMountKey", "name": "ststale01/*"})
    await clients.storage.storage_accounts.regenerate_key(
        "rg-stale", "ststale01", {"keyName": "key1"}
    )
    key = await key_of(clients, "rg-stale", "ststale01")
    await register(clients, "rg-stale", "ststale01", "phi", key)
    body = app_body(environment, "green", mounted=True)
    async with browser(azure) as http:
        await app.served(http, "blue")
        await app.put(body)

        async def told():
            return any(
                "mount error(13): Permission denied" in message
                for _, message in await app.events(http)
            )

        await until(told, 60)
        await app.served(http, "blue")
        await register(clients, "rg-stale", "ststale01", "phi-again", key)
        body["properties"]["template"]["volumes"][0]["storageName"] = "phi-again"
        await app.put(body)
        await app.served(http, "green")
    await app.delete()


async def test_the_edge_fails_as_scripted(azure, app, script):
    """Envoy's 503, a throttle, a connection cut before and in the middle of the answer; then the
    app answers again.
    """
    async with browser(azure) as http:
        await app.served(http, "blue")
        script(
            {"fault": "Error", "plane": "ingress", "status": 503, "times": 1},
            {"fault": "Throttle", "plane": "ingress", "retryAfter": 2, "times": 1},
            {"fault": "ResetBefore", "plane": "ingress", "method": "POST", "name": "web"},
            {"fault": "ResetAfter", "plane": "ingress", "method": "POST", "name": "other"},
        )
        assert [await app.ask(http) for _ in range(2)] == [503, 429]
        fqdn = (await app.get()).configuration.ingress.fqdn
        with pytest.raises(aiohttp.ClientError):
            await http.post(f"https://{fqdn}/", data=b"x")
        script({"fault": "ResetAfter", "plane": "ingress", "name": "web", "method": "GET"})
        with pytest.raises(aiohttp.ClientError):
            await app.ask(http)
        script()
        await app.served(http, "blue")
