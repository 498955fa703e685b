"""A container app that really runs: from the ARM write to its answers, its logs and its end."""

import asyncio
import json

import aiohttp
import pytest

from tests.local_azure.ground import App, app_body, lay_ground, template, until


@pytest.fixture(scope="module")
def running(make_azure, images):
    return make_azure("--operation-seconds", "0.05", "--images", str(images))


async def test_an_app_serves_logs_is_replaced_and_goes(running, connected_to, stack):
    """Single mode: the replica answers behind HTTPS, sees the share and its secret; an update takes
    over; delete ends it.
    """
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-run", "strun")
    apps, revisions = clients.apps.container_apps, clients.apps.container_apps_revisions
    app = await (
        await apps.begin_create_or_update(
            "rg-run", "web", app_body(environment, "blue", mounted=True)
        )
    ).result()
    first = app.latest_revision_name

    async def ready(name):
        return (await apps.get("rg-run", "web")).latest_ready_revision_name == name

    await until(lambda: ready(first))
    http = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=running.tls()))
    )
    fqdn = app.configuration.ingress.fqdn

    async def ask():
        try:
            async with http.get(f"https://{fqdn}/") as answer:
                return answer.status == 200 and await answer.json(content_type=None)
        except aiohttp.ClientConnectorError:  # the ingress starts beside the first replica
            return None

    seen = await until(ask)
    assert (seen["env"]["COLOUR"], seen["env"]["KEY"], seen["share"]) == (
        "blue",
        "s3cret",
        ["model.bin"],
    )
    assert seen["env"]["CONTAINER_APP_REVISION"] == first

    shown = await revisions.get_revision("rg-run", "web", first)
    assert (shown.health_state, shown.replicas, shown.traffic_weight) == ("Healthy", 1, 100)
    replicas = (
        await clients.apps.container_apps_revision_replicas.list_replicas("rg-run", "web", first)
    ).value
    container = replicas[0].containers[0]
    assert (
        container.ready,
        container.started,
        container.restart_count,
        container.running_state,
    ) == (True, True, 0, "Running")

    token = (await apps.get_auth_token("rg-run", "web")).token
    bearer = {"Authorization": f"Bearer {token}"}
    async with http.get(
        container.log_stream_endpoint, params={"tailLines": "50", "output": "text"}, headers=bearer
    ) as answer:
        assert answer.status == 200
        assert "listening blue" in await answer.text()
    async with http.get(container.log_stream_endpoint) as answer:
        assert answer.status == 401
    async with http.get(
        app.event_stream_endpoint, params={"tailLines": "300"}, headers=bearer
    ) as answer:
        reasons = {json.loads(line)["Reason"] for line in (await answer.text()).splitlines()}
    assert "ContainerStarted" in reasons

    changed = await (
        await apps.begin_update(
            "rg-run", "web", {"properties": {"template": template("green", mounted=True)}}
        )
    ).result()
    second = (await apps.get("rg-run", "web")).latest_revision_name
    assert changed is not None
    assert second != first
    await until(lambda: ready(second))
    assert (await until(ask))["env"]["COLOUR"] == "green"

    async def alone():
        return [
            found.name async for found in revisions.list_revisions("rg-run", "web") if found.active
        ] == [second]

    await until(alone)
    await (await apps.begin_delete("rg-run", "web")).result()

    async def gone():
        try:
            return not await ask()
        except aiohttp.ClientError:
            return True

    await until(gone)


async def test_a_replica_outlives_a_killed_server(running, connected_to, stack):
    """Kill -9 of the server leaves the replica answering; the next server takes it on with the same
    process.
    """
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-kill", "stkill")
    app = await (
        await clients.apps.container_apps.begin_create_or_update(
            "rg-kill", "web", app_body(environment, "red", mounted=True)
        )
    ).result()
    name = app.latest_revision_name

    async def replica():
        listed = await clients.apps.container_apps_revision_replicas.list_replicas(
            "rg-kill", "web", name
        )
        return [found for found in listed.value if found.containers[0].ready]

    before = await until(replica)
    http = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=running.tls()))
    )
    running.kill()
    async with http.get(f"https://{app.configuration.ingress.fqdn}/") as answer:
        assert answer.status == 200
    running.start()
    after = await until(replica)
    assert [found.name for found in after] == [found.name for found in before]
    assert after[0].containers[0].restart_count == 0


async def test_a_mount_with_a_dead_key_says_so(running, connected_to, stack):
    """After the key was regenerated a new revision cannot mount; its error is the one that Azure's
    events show.
    """
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-key", "stkey")
    await clients.storage.storage_accounts.regenerate_key("rg-key", "stkey", {"keyName": "key1"})
    app = await (
        await clients.apps.container_apps.begin_create_or_update(
            "rg-key", "web", app_body(environment, "red", mounted=True)
        )
    ).result()
    shown = await clients.apps.container_apps_revisions.get_revision(
        "rg-key", "web", app.latest_revision_name
    )
    assert (shown.health_state, app.provisioning_state) == ("Unhealthy", "Succeeded")
    assert "Permission denied" in shown.provisioning_error


async def test_a_replica_reaches_another_app_where_clients_do(running, connected_to, stack):
    """At the app's own address, where a sleeping app is woken by that, too; and so it reaches the
    login, whose keys check tokens.
    """
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-out")
    apps = clients.apps.container_apps
    asked = await (
        await apps.begin_create_or_update(
            "rg-out", "asked", app_body(environment, "green", scale={"minReplicas": 0})
        )
    ).result()
    ask = (
        "import http.server, ssl, urllib.request\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        f"        url = 'https://{asked.configuration.ingress.fqdn}/'\n"
        "        plain = ssl._create_unverified_context()\n"
        f"        login = '{running.facts['authority']}/{running.facts['tenantId']}/discovery/v2.0/keys'\n"
        "        urllib.request.urlopen(login, context=plain).read()\n"
        "        text = urllib.request.urlopen(url, context=plain).read()\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(text)\n"
        "http.server.HTTPServer(('', 8000), Handler).serve_forever()"
    )
    body = app_body(environment, "asks")
    tcp = [{"type": "Readiness", "tcpSocket": {"port": 8000}, "periodSeconds": 1}]
    body["properties"]["template"]["containers"][0] |= {
        "command": ["python3", "-c", ask],
        "probes": tcp,
    }
    app = await (await apps.begin_create_or_update("rg-out", "asks", body)).result()
    http = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=running.tls()))
    )

    async def answer():
        try:
            async with http.get(f"https://{app.configuration.ingress.fqdn}/") as said:
                return said.status == 200 and await said.json(content_type=None)
        except aiohttp.ClientError:
            return None

    assert (await until(answer))["env"]["COLOUR"] == "green"


async def test_containers_of_a_replica_share_its_network_and_folders(running, connected_to, stack):
    """An init container runs to its end first, a sidecar beside the first container, and secrets
    lie in files.
    """
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-side")
    body = app_body(environment, "blue")
    shared = {
        "volumeMounts": [
            {"volumeName": "work", "mountPath": "/scratch"},
            {"volumeName": "keys", "mountPath": "/keys"},
        ]
    }
    write = (
        "import pathlib;"
        " pathlib.Path('/scratch/said').write_text(pathlib.Path('/keys/key').read_text())"
    )
    serve = (
        "import http.server, os; os.chdir('/scratch'); print('beside', flush=True);"
        " http.server.test(http.server.SimpleHTTPRequestHandler, port=9000)"
    )
    show = (
        "import http.server, urllib.request\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        text = urllib.request.urlopen('http://127.0.0.1:9000/said').read()\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(text)\n"
        "http.server.HTTPServer(('', 8000), Handler).serve_forever()"
    )
    tcp = [
        {"type": kind, "tcpSocket": {"port": 8000}, "periodSeconds": 1}
        for kind in ("Startup", "Readiness")
    ]
    body["properties"]["template"] |= {
        "initContainers": [
            {"name": "init", "image": "python:3.11", "command": ["python3", "-c", write], **shared}
        ],
        "containers": [
            {
                "name": "web",
                "image": "python:3.11",
                "command": ["python3", "-c", show],
                "probes": tcp,
            },
            {"name": "side", "image": "python:3.11", "command": ["python3", "-c", serve], **shared},
        ],
        "volumes": [
            {"name": "work", "storageType": "EmptyDir"},
            {"name": "keys", "storageType": "Secret"},
        ],
    }
    app = await (
        await clients.apps.container_apps.begin_create_or_update("rg-side", "web", body)
    ).result()
    http = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=running.tls()))
    )

    async def ask():
        try:
            async with http.get(f"https://{app.configuration.ingress.fqdn}/") as answer:
                return answer.status == 200 and await answer.text()
        except aiohttp.ClientError:
            return None

    assert await until(ask) == "s3cret"
    listing = clients.apps.container_apps_revision_replicas.list_replicas
    replica = (await listing("rg-side", "web", app.latest_revision_name)).value[0]
    shown = {
        container.name: container.running_state
        for container in (*replica.init_containers, *replica.containers)
    }
    assert shown == {"init": "Terminated", "web": "Running", "side": "Running"}
    token = (await clients.apps.container_apps.get_auth_token("rg-side", "web")).token
    side = next(container for container in replica.containers if container.name == "side")
    bearer = {"Authorization": f"Bearer {token}"}
    async with http.get(
        side.log_stream_endpoint, params={"output": "text"}, headers=bearer
    ) as answer:
        assert "beside" in await answer.text()


async def test_tcp_ingress_hands_bytes_on(running, connected_to, stack):
    """With transport Tcp the port takes whatever the client sends, before a word of HTTP or TLS."""
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-tcp")
    echo = (
        "import socketserver\n"
        "class Handler(socketserver.StreamRequestHandler):\n"
        "    def handle(self):\n"
        "        self.wfile.write(self.rfile.readline().upper())\n"
        "socketserver.ThreadingTCPServer(('', 8000), Handler).serve_forever()"
    )
    body = app_body(environment, "blue", ingress={"transport": "tcp", "exposedPort": 8000})
    tcp = [
        {"type": kind, "tcpSocket": {"port": 8000}, "periodSeconds": 1}
        for kind in ("Startup", "Readiness")
    ]
    container = {
        "name": "web",
        "image": "python:3.11",
        "command": ["python3", "-c", echo],
        "probes": tcp,
    }
    body["properties"]["template"]["containers"] = [container]
    app = await (
        await clients.apps.container_apps.begin_create_or_update("rg-tcp", "web", body)
    ).result()
    host, _, port = app.configuration.ingress.fqdn.partition(":")

    async def ask():
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"hello\n")
            said = await reader.read()
            writer.close()
        except OSError:
            return None
        else:
            return said

    assert await until(ask) == b"HELLO\n"


async def test_a_revision_activated_by_hand_stays_in_single_mode(running, connected_to, stack):
    """Single mode retires the older revision once, when its successor is ready, and not again
    behind a person's back.
    """
    clients = await connected_to(running, stack)
    environment = await lay_ground(clients, "rg-hand")
    app = App(clients, "rg-hand", "web")
    first = (await app.put(app_body(environment, "blue"))).latest_revision_name
    await app.patch(template=template("green"))
    second = (await app.get()).latest_revision_name
    assert second != first

    async def active():
        return not (await app.revision(first))["active"]

    await until(active)
    await clients.apps.container_apps_revisions.activate_revision("rg-hand", "web", first)

    async def serves():
        return (await app.revision(first))["healthState"] == "Healthy"

    await until(serves)
    assert (await app.revision(first))["active"]
