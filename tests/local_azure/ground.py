"""What an app needs around it, made through ARM, and the plain server that its replicas run. Shared
by the tests of running apps.
"""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
from azure.core.exceptions import ResourceNotFoundError

from tests.patience import LEAST

# Answers with its own facts; BOOT keeps it from listening for so many seconds, /stream lasts,
# /crash ends it.
SERVER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/crash": os._exit(3)
        share = sorted(os.listdir("/mnt/share")) if os.path.isdir("/mnt/share") else None
        body = json.dumps({"env": dict(os.environ), "share": share, "headers": dict(self.headers)}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *arguments): pass
time.sleep(float(os.environ.get("BOOT", "0")))
print("listening", os.environ.get("COLOUR"), flush=True)
ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
_GET = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
PROBES = [
    {"type": "Startup", "failureThreshold": 240, **_GET},
    {"type": "Readiness", **_GET},
    {"type": "Liveness", **_GET},
]
GPU = {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"}


def template(colour="blue", *, scale=None, boot=0.0, mounted=False, **more):
    """A template of one container; `mounted` puts the share's folder sub at /mnt/share."""
    env = {"COLOUR": colour, "BOOT": str(boot)}
    container = {
        "name": "web",
        "image": "python:3.11",
        "command": ["python3", "-c", SERVER],
        "env": [
            {"name": "KEY", "secretRef": "key"},
            *({"name": name, "value": value} for name, value in env.items()),
        ],
        "probes": PROBES,
    }
    if mounted:
        container["volumeMounts"] = [
            {"volumeName": "share", "mountPath": "/mnt/share", "subPath": "sub"}
        ]
        more["volumes"] = [{"name": "share", "storageType": "AzureFile", "storageName": "phi"}]
    return {
        "containers": [container],
        "scale": {"minReplicas": 1, "maxReplicas": 1, **(scale or {})},
        **more,
    }


def app_body(environment, colour="blue", *, ingress=None, mode=None, profile=None, **more):
    """A whole app; further arguments are the template's."""
    configuration = {
        "secrets": [{"name": "key", "value": "s3cret"}],
        "ingress": {"targetPort": 8000, "external": True, **(ingress or {})},
        **({"activeRevisionsMode": mode} if mode else {}),
    }
    properties = {
        "environmentId": environment,
        "configuration": configuration,
        "template": template(colour, **more),
    }
    return {
        "location": "swedencentral",
        "properties": {**properties, **({"workloadProfileName": profile} if profile else {})},
    }


async def lay_ground(clients, group, account="", *, profiles=()):
    """Group, environment, and with an account: share with one file and its storage. Gives the
    environment's id.
    """
    await clients.resources.resource_groups.create_or_update(group, {"location": "swedencentral"})
    properties = {"workloadProfiles": list(profiles)} if profiles else {}
    body = {"location": "swedencentral", "properties": properties}
    environment = await (
        await clients.apps.managed_environments.begin_create_or_update(group, "cae", body)
    ).result()
    if account:
        body = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
        await (await clients.storage.storage_accounts.begin_create(group, account, body)).result()
        await clients.storage.file_shares.create(group, account, "phi", {"properties": {}})
        folder = clients.azure.state / "files" / account / "phi" / "sub"
        folder.mkdir(parents=True)
        (folder / "model.bin").write_text("weights")
        await register(clients, group, account, "phi", await key_of(clients, group, account))
    return environment.id


async def key_of(clients, group, account):
    return (await clients.storage.storage_accounts.list_keys(group, account))["keys"][0]["value"]


async def register(clients, group, account, storage, key):
    """The environment storage `storage`, opened with `key`."""
    file = {"accountName": account, "accountKey": key, "shareName": "phi", "accessMode": "ReadOnly"}
    operations = clients.apps.managed_environments_storages
    await operations.create_or_update(group, "cae", storage, {"properties": {"azureFile": file}})


class App:
    """One container app and what ARM says of it."""

    def __init__(self, clients, group, name):
        self.clients, self.group, self.name = clients, group, name

    async def put(self, body):
        operations = self.clients.apps.container_apps
        return await (await operations.begin_create_or_update(self.group, self.name, body)).result()

    async def patch(self, **properties):
        operations = self.clients.apps.container_apps
        await (
            await operations.begin_update(self.group, self.name, {"properties": properties})
        ).result()
        return await self.get()

    async def get(self):
        return await self.clients.apps.container_apps.get(self.group, self.name)

    async def delete(self):
        await (await self.clients.apps.container_apps.begin_delete(self.group, self.name)).result()

    async def revision(self, name=None):
        """The raw properties of a revision, the newest by default: the SDK's model lacks some of
        them.
        """
        name = name or (await self.get()).latest_revision_name
        path = f"{self.clients.group(self.group)}/providers/Microsoft.App/containerApps/{self.name}/revisions/{name}"
        status, _, body = await self.clients.raw("GET", path)
        if status == 404:
            raise ResourceNotFoundError(body["error"]["message"])
        return body["properties"]

    async def revisions(self):
        operations = self.clients.apps.container_apps_revisions
        return {
            found.name: found async for found in operations.list_revisions(self.group, self.name)
        }

    async def replicas(self, revision=None):
        name = revision or (await self.get()).latest_revision_name
        operations = self.clients.apps.container_apps_revision_replicas
        return (await operations.list_replicas(self.group, self.name, name)).value

    async def healthy(self, revision=None):
        """Wait for a revision to be Healthy with a ready replica; its properties."""

        async def look():
            found = await self.revision(revision)
            return found if found["healthState"] == "Healthy" and found["replicas"] else None

        return await until(look)

    async def state(self, running, revision=None, seconds=30.0):
        """Wait for a runningState; the revision's properties."""

        async def look():
            found = await self.revision(revision)
            return found if found["runningState"] == running else None

        return await until(look, seconds)

    async def events(self, http):
        """The system log from its beginning, as its stream gives it: (reason, message) of each
        event.
        """
        app = await self.get()
        token = (await self.clients.apps.container_apps.get_auth_token(self.group, self.name)).token
        headers = {"Authorization": f"Bearer {token}"}
        async with http.get(
            app.event_stream_endpoint, params={"tailLines": "300"}, headers=headers
        ) as answer:
            assert answer.status == 200
            lines = (await answer.text()).splitlines()
        return [(event["Reason"], event["Msg"]) for event in map(json.loads, lines)]

    async def ask(self, http, host="", **more):
        """The app's answer to GET /, by the name `host` when given; the status when it
        is not 200.
        """
        fqdn = (await self.get()).configuration.ingress.fqdn
        headers = {**more.pop("headers", {}), **({"Host": host} if host else {})}
        async with http.get(f"https://{fqdn}/", headers=headers, **more) as answer:
            return await answer.json(content_type=None) if answer.status == 200 else answer.status

    async def served(self, http, colour, host=""):
        """Wait until the app answers with this colour; its port opens a moment after the app was
        made.
        """

        async def look():
            try:
                found = await self.ask(http, host)
            except aiohttp.ClientConnectorError:
                return False
            return isinstance(found, dict) and found["env"]["COLOUR"] == colour

        await until(look)


async def until(predicate, seconds=LEAST):
    """Wait for a coroutine function to give something true."""
    async with asyncio.timeout(seconds):
        while not (found := await predicate()):
            await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def browser(azure):
    """A client of the apps' ingress that keeps no cookies."""
    connector = aiohttp.TCPConnector(ssl=azure.tls())
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield session
