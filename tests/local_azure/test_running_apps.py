"""A container app that really runs: from the ARM write to its answers, its logs and its end."""

import json

import aiohttp
import pytest

from tests.local_azure.ground import app_body, lay_ground, template, until


@pytest.fixture(scope="module")
def running(make_azure, images):
    return make_azure("--operation-seconds", "0.05", "--images", str(images))


async def test_an_app_serves_logs_is_replaced_and_goes(running, connected_to, stack):
    """Single mode: the replica answers behind HTTPS, sees the share and its secret; an update takes over; delete ends it."""
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-run", "strun")
    apps, revisions = clients.apps.container_apps, clients.apps.container_apps_revisions
    app = await (await apps.begin_create_or_update("rg-run", "web", app_body(environment, "blue", mounted=True))).result()
    first = app.latest_revision_name

    async def ready(name):
        return (await apps.get("rg-run", "web")).latest_ready_revision_name == name

    await until(lambda: ready(first))
    http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=running.tls())))
    fqdn = app.configuration.ingress.fqdn

    async def ask():
        try:
            async with http.get(f"https://{fqdn}/") as answer:
                return answer.status == 200 and await answer.json(content_type=None)
        except aiohttp.ClientConnectorError:  # the ingress starts beside the first replica
            return None

    seen = await until(ask)
    assert (seen["env"]["COLOUR"], seen["env"]["KEY"], seen["share"]) == ("blue", "s3cret", ["model.bin"])
    assert seen["env"]["CONTAINER_APP_REVISION"] == first

    shown = await revisions.get_revision("rg-run", "web", first)
    assert (shown.health_state, shown.replicas, shown.traffic_weight) == ("Healthy", 1, 100)
    replicas = (await clients.apps.container_apps_revision_replicas.list_replicas("rg-run", "web", first)).value
    container = replicas[0].containers[0]
    assert (container.ready, container.started, container.restart_count, container.running_state) == (True, True, 0, "Running")

    token = (await apps.get_auth_token("rg-run", "web")).token
    bearer = {"Authorization": f"Bearer {token}"}
    async with http.get(container.log_stream_endpoint, params={"tailLines": "50", "output": "text"}, headers=bearer) as answer:
        assert answer.status == 200
        assert "listening blue" in await answer.text()
    async with http.get(container.log_stream_endpoint) as answer:
        assert answer.status == 401
    async with http.get(app.event_stream_endpoint, params={"tailLines": "300"}, headers=bearer) as answer:
        reasons = {json.loads(line)["Reason"] for line in (await answer.text()).splitlines()}
    assert "ContainerStarted" in reasons

    changed = await (
        await apps.begin_update("rg-run", "web", {"properties": {"template": template("green", mounted=True)}})
    ).result()
    second = (await apps.get("rg-run", "web")).latest_revision_name
    assert changed is not None
    assert second != first
    await until(lambda: ready(second))
    assert (await until(ask))["env"]["COLOUR"] == "green"

    async def alone():
        return [found.name async for found in revisions.list_revisions("rg-run", "web") if found.active] == [second]

    await until(alone)
    await (await apps.begin_delete("rg-run", "web")).result()

    async def gone():
        try:
            return not await ask()
        except aiohttp.ClientError:
            return True

    await until(gone)


async def test_a_replica_outlives_a_killed_server(running, connected_to, stack):
    """Kill -9 of the server leaves the replica answering; the next server takes it on with the same process."""
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-kill", "stkill")
    app = await (
        await clients.apps.container_apps.begin_create_or_update("rg-kill", "web", app_body(environment, "red", mounted=True))
    ).result()
    name = app.latest_revision_name

    async def replica():
        listed = await clients.apps.container_apps_revision_replicas.list_replicas("rg-kill", "web", name)
        return [found for found in listed.value if found.containers[0].ready]

    before = await until(replica)
    http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=running.tls())))
    running.kill()
    async with http.get(f"https://{app.configuration.ingress.fqdn}/") as answer:
        assert answer.status == 200
    running.start()
    after = await until(replica)
    assert [found.name for found in after] == [found.name for found in before]
    assert after[0].containers[0].restart_count == 0


async def test_a_mount_with_a_dead_key_says_so(running, connected_to, stack):
    """After the key was regenerated a new revision cannot mount; its error is the one that Azure's events show."""
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-key", "stkey")
    await clients.storage.storage_accounts.regenerate_key("rg-key", "stkey", {"keyName": "key1"})
    app = await (
        await clients.apps.container_apps.begin_create_or_update("rg-key", "web", app_body(environment, "red", mounted=True))
    ).result()
    shown = await clients.apps.container_apps_revisions.get_revision("rg-key", "web", app.latest_revision_name)
    assert (shown.health_state, app.provisioning_state) == ("Unhealthy", "Succeeded")
    assert "Permission denied" in shown.provisioning_error
