"""A local Azure of its own for a benchmark, and plain HTTPS to it: no SDK, whose cost would hide
the server's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp

from tests.local_azure.conftest import LocalAzure
from tests.login import login_form

VERSION = "2024-03-01"
GROUP = "rg-bench"
ACCOUNT = "stbench"
# The server of the replicas, which needs aiohttp, runs on the product's own environment.
_IMAGES = f'- image: ["aiohttp:1"]\n  environment: {sys.prefix}\n'


class Arm:
    """A signed-in session: `call` waits for whatever the answer starts."""

    def __init__(self, azure: LocalAzure, session: aiohttp.ClientSession) -> None:
        self.azure = azure
        self.session = session
        self.group = f"{azure.subscription}/resourceGroups/{GROUP}"

    async def call(self, method: str, path: str, body: Any = None, version: str = VERSION) -> Any:
        """One request; with an operation in its answer, also its end. The body of the answer."""
        async with self.session.request(
            method, path, params={"api-version": version}, json=body
        ) as answer:
            assert answer.status < 300, await answer.text()
            found = await answer.json() if answer.content_type == "application/json" else None
            where = answer.headers.get("Azure-AsyncOperation") or answer.headers.get("Location")
        while where:
            async with self.session.get(where) as polled:
                if polled.status == 202 or (
                    polled.status == 200 and (await polled.json()).get("status") == "InProgress"
                ):
                    await asyncio.sleep(0.02)
                    continue
                return found
        return found

    async def lay_ground(self) -> str:
        """A group, an account with a share, an environment; the environment's id."""
        place = {"location": "swedencentral"}
        await self.call("PUT", self.group, place, "2024-11-01")
        account = f"{self.group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"
        await self.call(
            "PUT",
            account,
            {**place, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}},
            "2023-05-01",
        )
        await self.call(
            "PUT", f"{account}/fileServices/default/shares/bench", {"properties": {}}, "2023-05-01"
        )
        environment = f"{self.group}/providers/Microsoft.App/managedEnvironments/cae"
        await self.call("PUT", environment, {**place, "properties": {}})
        return environment

    def app(self, name: str) -> str:
        return f"{self.group}/providers/Microsoft.App/containerApps/{name}"

    async def key(self) -> str:
        path = f"{self.group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}/listKeys"
        return str((await self.call("POST", path, version="2023-05-01"))["keys"][0]["value"])


@asynccontextmanager
async def arm(*options: str) -> AsyncIterator[Arm]:
    """A started local Azure with operations of 20 ms; stopped and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as folder:
        images = Path(folder, "images.yaml")
        images.write_text(_IMAGES)
        azure = LocalAzure(
            Path(folder, "azure"),
            ["--operation-seconds", "0.02", "--images", str(images), *options],
        ).start()
        try:
            async with connected(azure) as signed_in:
                yield signed_in
        finally:
            azure.stop()


@asynccontextmanager
async def connected(azure: LocalAzure) -> AsyncIterator[Arm]:
    """A session with a local Azure that runs."""
    context = ssl.create_default_context(cafile=azure.facts["caFile"])
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(azure.endpoint, connector=connector) as session:
        session.headers["Authorization"] = f"Bearer {await _token(azure, session)}"
        yield Arm(azure, session)


def app_body(environment: str, *, command: list[str], minimum: int) -> dict[str, Any]:
    """An app on the image with aiohttp; with `minimum` 0 it never gets a replica, for it is told to
    have none.
    """
    container = {
        "name": "web",
        "image": "aiohttp:1",
        "command": command,
        "resources": {"cpu": 0.5, "memory": "1Gi"},
    }
    configuration = {"ingress": {"external": True, "targetPort": 8000}}
    template = {
        "containers": [container],
        "scale": {"minReplicas": minimum, "maxReplicas": max(minimum, 1)},
    }
    properties = {
        "environmentId": environment,
        "configuration": configuration,
        "template": template,
    }
    return {"location": "swedencentral", "properties": properties}


def signed(
    method: str, path: str, key: str, headers: dict[str, str], *, length: int = 0, query: str = ""
) -> dict[str, str]:
    """`headers` with the account key's signature (SharedKey), as
    azure-storage-file-share makes it.
    """
    headers = {
        **headers,
        "x-ms-date": formatdate(time.time(), usegmt=True),
        "x-ms-version": "2024-08-04",
    }
    named = "".join(
        f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-")
    )
    resource = f"/{ACCOUNT}{path}" + "".join(
        f"\n{pair.replace('=', ':')}" for pair in sorted(filter(None, query.split("&")))
    )
    content_type = headers.get("Content-Type", "")
    text = f"{method}\n\n\n{length or ''}\n\n{content_type}\n\n\n\n\n\n\n{named}{resource}"
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return {**headers, "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"}


async def _token(azure: LocalAzure, session: aiohttp.ClientSession) -> str:
    form = login_form(azure.facts, azure.endpoint)
    async with session.post(f"/{azure.facts['tenantId']}/oauth2/v2.0/token", data=form) as answer:
        return str((await answer.json())["access_token"])
