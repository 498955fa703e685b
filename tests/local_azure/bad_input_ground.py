"""A local Azure that is told nonsense, and what the nonsense names. Shared by its tests."""

import asyncio
import resource
import ssl
from pathlib import Path

import aiohttp
import pytest

ACCOUNT = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}


@pytest.fixture(scope="module")
def azure(make_azure):
    """A server whose connections may be silent for two seconds."""
    return make_azure("--operation-seconds", "0.01", "--idle-seconds", "2", "--rate-limits", "off")


@pytest.fixture
async def token(clients):
    return (await clients.credential.get_token(f"{clients.azure.endpoint}/.default")).token


@pytest.fixture
async def ground(clients):
    """A group with an environment, an account and a share."""
    group = clients.group("rg-bad")
    await clients.raw("PUT", group, {"location": "swedencentral"}, version="2025-04-01")
    if (await clients.raw("GET", f"{group}/providers/Microsoft.Storage/storageAccounts/stbad01"))[
        0
    ] == 404:
        await (
            await clients.storage.storage_accounts.begin_create("rg-bad", "stbad01", ACCOUNT)
        ).result()
        await clients.storage.file_shares.create("rg-bad", "stbad01", "phi", {"properties": {}})
        environment = {"location": "swedencentral", "properties": {}}
        await (
            await clients.apps.managed_environments.begin_create_or_update(
                "rg-bad", "cae", environment
            )
        ).result()
    return group


def port(azure):
    return int(azure.endpoint.rsplit(":", 1)[1])


async def wire(azure, data, *, read_s=10.0):
    """Send these bytes over a connection of their own; the answer until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(azure), ssl=azure.tls())
    try:
        writer.write(data)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), read_s)
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()


async def alive(azure):
    """It answers another request."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=azure.tls())) as http,
        http.get(f"{azure.endpoint}/metadata/endpoints?api-version=2022-09-01") as answer,
    ):
        return answer.status == 200


def request(method, path, *headers, body=b"", host="127.0.0.1"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def memory(azure):
    """Resident bytes of the server."""
    pid = azure.command("status")["pid"]
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
