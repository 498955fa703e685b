"""A real local Azure per test module, in a process of its own, and the real SDK clients that talk
to it over HTTPS.
"""

import json
import os
import ssl
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import hypothesis
import pytest
import pytest_asyncio
from azure.core.rest import HttpRequest
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.appcontainers.aio import ContainerAppsAPIClient
from azure.mgmt.loganalytics.aio import LogAnalyticsManagementClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient
from azure.mgmt.storage.aio import StorageManagementClient
from azure.storage.fileshare.aio import ShareServiceClient

from infra.local_azure.faults import script
from infra.local_azure.faults.fault_store import FaultStore

ROOT = Path(__file__).parents[2]
IMAGES = Path(__file__).with_name("images.yaml")

# A busy machine makes an example slow, which says nothing about the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@dataclass
class LocalAzure:
    """A state folder and the command that rules it; `facts` is what `start -o json` printed."""

    state: Path
    options: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> Any:
        """Run one command with `-o json` and read what it printed."""
        call = [
            sys.executable,
            "-m",
            "infra.local_azure",
            arguments[0],
            "--state-dir",
            str(self.state),
            "-o",
            "json",
            *arguments[1:],
        ]
        done = subprocess.run(
            call, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr + self.log()
        return json.loads(done.stdout)

    def start(self) -> "LocalAzure":
        self.facts = self.command("start", *self.options)
        return self

    def stop(self) -> None:
        self.command("stop")

    def kill(self) -> None:
        """As kill -9 does: no farewell."""
        os.kill(self.command("status")["pid"], 9)
        while self.command("status")["running"]:
            pass

    def log(self) -> str:
        log = self.state / "server.log"
        return log.read_text() if log.exists() else ""

    def journal(self, plane: str = "") -> list[dict[str, Any]]:
        return [entry for entry in self.command("journal") if plane in {"", entry["plane"]}]

    @property
    def endpoint(self) -> str:
        return self.facts["armEndpoint"]

    @property
    def subscription(self) -> str:
        return f"/subscriptions/{self.facts['subscriptionId']}"

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.facts["caFile"])


@dataclass
class Clients:
    """The management clients as a product makes them, polling at their defaults, and raw access
    through the same pipeline.
    """

    azure: LocalAzure
    credential: ClientSecretCredential
    resources: ResourceManagementClient
    storage: StorageManagementClient
    apps: ContainerAppsAPIClient
    logs: LogAnalyticsManagementClient

    async def raw(
        self, method: str, path: str, body: Any = None, version: str = "2026-07-01", **query: str
    ) -> tuple[int, Any, Any]:
        """Status, headers and JSON of one ARM request."""
        url = path if path.startswith("https:") else f"{self.azure.endpoint}{path}"
        params = {} if "api-version=" in url else {"api-version": version, **query}
        request = (
            HttpRequest(method, url, params=params, json=body)
            if body is not None
            else HttpRequest(method, url, params=params)
        )
        response = await self.apps.send_request(request)
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return response.status_code, response.headers, response.json() if is_json else None

    def group(self, name: str) -> str:
        return f"{self.azure.subscription}/resourceGroups/{name}"


@pytest.fixture(scope="module")
def make_azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalAzure]]:
    """Starts local Azures with options of one's own; all are stopped at the end of the module."""
    made: list[LocalAzure] = []

    def make(*options: str) -> LocalAzure:
        if "--images" not in options:
            options = (*options, "--images", str(IMAGES))
        azure = LocalAzure(tmp_path_factory.mktemp("azure") / "local-azure", list(options))
        made.append(azure)
        return azure.start()

    yield make
    for azure in made:
        azure.stop()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with plain Python in an environment of its own, and the images of `IMAGES`."""
    folder = tmp_path_factory.mktemp("images")
    venv.create(folder / "python", with_pip=False)
    file = folder / "images.yaml"
    file.write_text(
        f'- image: ["python:3.11"]\n  environment: {folder / "python"}\n  cmd: [python3]\n'
        + IMAGES.read_text()
    )
    return file


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What a test opens; closed at its end."""
    async with AsyncExitStack() as open_things:
        yield open_things


@pytest.fixture(scope="module")
def azure(make_azure: Callable[..., LocalAzure]) -> LocalAzure:
    """One server for the module, with operations of 50 ms."""
    return make_azure("--operation-seconds", "0.05")


@pytest.fixture
def slow_operations(azure: LocalAzure) -> Iterator[None]:
    """The test's own operations take a second longer, so that what it does next surely meets them
    running.
    """
    with closing(FaultStore(azure.state / "faults.db")) as book:
        book.add(script.single({"fault": "OperationSlow", "seconds": 1}, set()))
        yield
        book.clear()


async def connect(azure: LocalAzure, stack: AsyncExitStack) -> Clients:
    """Everything that talks to a server; closed with the stack."""
    facts = azure.facts
    ca = facts["caFile"]
    credential = await stack.enter_async_context(
        ClientSecretCredential(
            facts["tenantId"],
            facts["clientId"],
            facts["clientSecret"],
            authority=facts["authority"],
            disable_instance_discovery=True,
            connection_verify=ca,
        )
    )
    settings: dict[str, Any] = {
        "base_url": azure.endpoint,
        "credential_scopes": [f"{azure.endpoint}/.default"],
        "connection_verify": ca,
        "retry_total": 0,
    }
    subscription = facts["subscriptionId"]
    return Clients(
        azure,
        credential,
        await stack.enter_async_context(
            ResourceManagementClient(credential, subscription, **settings)
        ),
        await stack.enter_async_context(
            StorageManagementClient(credential, subscription, **settings)
        ),
        await stack.enter_async_context(
            ContainerAppsAPIClient(credential, subscription, **settings)
        ),
        await stack.enter_async_context(
            LogAnalyticsManagementClient(credential, subscription, **settings)
        ),
    )


@pytest_asyncio.fixture
async def clients(azure: LocalAzure) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield await connect(azure, stack)


@pytest.fixture
def connected_to() -> Callable[[LocalAzure, AsyncExitStack], Awaitable[Clients]]:
    """Clients of a given server, closed with the given stack."""
    return connect


@pytest_asyncio.fixture
async def connected(
    make_azure: Callable[..., LocalAzure],
) -> AsyncIterator[Callable[..., Awaitable[Clients]]]:
    """Clients of a further server with options of its own."""
    async with AsyncExitStack() as stack:

        async def make(*options: str) -> Clients:
            return await connect(make_azure(*options), stack)

        yield make


@pytest_asyncio.fixture
async def http(azure: LocalAzure) -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTPS without any SDK."""
    connector = aiohttp.TCPConnector(ssl=azure.tls())
    async with aiohttp.ClientSession(azure.endpoint, connector=connector) as session:
        yield session


@pytest_asyncio.fixture
async def make_account(clients: Clients) -> Callable[..., Awaitable[tuple[str, str]]]:
    """Creates a group and a storage account; gives the account's name and first key."""

    async def make(group: str, name: str) -> tuple[str, str]:
        await clients.resources.resource_groups.create_or_update(
            group, {"location": "swedencentral"}
        )
        body = {
            "location": "swedencentral",
            "kind": "StorageV2",
            "sku": {"name": "Standard_LRS"},
            "properties": {},
        }
        poller = await clients.storage.storage_accounts.begin_create(group, name, body)
        account = await poller.result()
        keys = await clients.storage.storage_accounts.list_keys(group, name)
        return str(account.name), str(
            keys.keys_property[0].value
            if hasattr(keys, "keys_property")
            else keys["keys"][0]["value"]
        )

    return make


@pytest_asyncio.fixture
async def share_service(
    azure: LocalAzure,
    make_account: Callable[..., Awaitable[tuple[str, str]]],
    request: pytest.FixtureRequest,
) -> AsyncIterator[ShareServiceClient]:
    """The Files client of a fresh account."""
    name = f"st{abs(hash(request.node.name)) % 10**12}"
    account, key = await make_account("rg-files", name)
    async with ShareServiceClient(
        f"{azure.endpoint}/{account}",
        credential=key,
        connection_verify=azure.facts["caFile"],
        retry_total=0,
    ) as service:
        yield service
