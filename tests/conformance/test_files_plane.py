"""The Azure Files plane answers as Azure did: its genuine exchanges, in order, against one account
of the local Azure.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

import aiohttp
import pytest

from reconciler.arm.sharedkey import SharedKey
from tests.conformance import recordings
from tests.local_azure.conftest import (  # noqa: F401 - fixtures
    azure,
    clients,
    make_account,
    make_azure,
)

FOLDER = recordings.folder()
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="there is no folder of recordings (MOORAGE_RECORDINGS)"
)
HOST = ".file.core.windows.net"
RECORDED = (
    (
        "cli-storage__test_storage_file_main_scenario",
        "shares, files and directories from their making to their end",
    ),
    (
        "cli-storage__test_storage_file_share_scenario",
        "shares that are there twice, missing, or resized",
    ),
    ("cli-storage__test_storage_share_policy_scenario", "stored access policies"),
)
# What a header or an element holds that no two services give alike.
MADE = {
    "etag",
    "last-modified",
    "x-ms-request-id",
    "FileId",
    "DirectoryId",
    "CreationTime",
    "LastAccessTime",
    "LastWriteTime",
    "ChangeTime",
    "Last-Modified",
    "Etag",
    "PermissionKey",
    "ServiceEndpoint",
    "Message",
    "x-ms-version",
    "AccessTierChangeTime",
    "x-ms-access-tier-change-time",
}
SIZE = (
    65536  # of the file that the recording uploads; the recorder left its request's own headers out
)


def headers_of(exchange: recordings.Exchange, later: dict[str, str]) -> dict[str, str]:
    """What the client must have sent; of all that the recording has only the version, but `later`
    shows what came of it.
    """
    query = exchange.query
    if exchange.method != "PUT":
        return {"x-ms-range": f"bytes=0-{SIZE - 1}"} if exchange.status == 206 else {}
    if query.get("comp") == "range":
        return {"x-ms-write": "update", "x-ms-range": f"bytes=0-{SIZE - 1}"}
    if query.get("comp") == "properties":
        if query.get("restype") == "share":
            return {"x-ms-share-quota": later["x-ms-share-quota"]}
        return {"x-ms-content-type": later["content-type"]}
    if "restype" in query or "comp" in query:
        return {}
    return {"x-ms-type": "file", "x-ms-content-length": str(SIZE)}


def body_of(exchange: recordings.Exchange) -> bytes:
    if exchange.query.get("comp") == "range":
        return bytes(SIZE)
    return exchange.sent.encode() if isinstance(exchange.sent, str) else b""


def elements(text: str) -> Iterator[tuple[str, str]]:
    """Every element and attribute with its path and its text."""

    def walk(node: ET.Element, path: str) -> Iterator[tuple[str, str]]:
        here = f"{path}/{node.tag}"
        yield here, (node.text or "") if len(node) == 0 else ""
        yield from ((f"{here}@{name}", value) for name, value in node.attrib.items())
        for number, child in enumerate(node):
            yield from walk(
                child,
                f"{here}[{number}]" if [other.tag for other in node].count(child.tag) > 1 else here,
            )

    return walk(ET.fromstring(text.lstrip("\ufeff")), "")


def differences(
    exchange: recordings.Exchange, status: int, headers: dict[str, str], text: str
) -> Iterator[str]:
    if status != exchange.status:
        yield f"status {status}, not {exchange.status}: {text[:200]}"
        return
    for name, value in exchange.headers.items():
        if name.lower() not in headers:
            yield f"no header {name}"
        elif name.lower() not in MADE and headers[name.lower()] != value:
            yield f"{name}: {headers[name.lower()]!r}, not {value!r}"
    if isinstance(exchange.body, str) and exchange.body.lstrip("\ufeff").startswith("<?xml"):
        local = dict(elements(text))
        for path, value in elements(exchange.body):
            if path not in local:
                yield f"no element {path}"
            elif path.replace("@", "/").rsplit("/", 1)[-1] not in MADE and local[path] != value:
                yield f"{path}: {local[path]!r}, not {value!r}"


def files_exchanges(path: Path) -> list[recordings.Exchange]:
    return [
        exchange for exchange in recordings.load(path).exchanges if exchange.host.endswith(HOST)
    ]


@pytest.mark.parametrize(("name", "reason"), RECORDED)
async def test_the_plane_answers_as_azure_did(
    azure, clients, make_account, name: str, reason: str
) -> None:
    """Status, headers, error codes and every element of the bodies are those that were recorded."""
    assert FOLDER is not None
    exchanges = files_exchanges(FOLDER / f"{name}.jsonl")
    assert exchanges
    account = f"st{os.urandom(5).hex()}"
    await clients.resources.resource_groups.create_or_update("rg-recorded", {"location": "eastus"})
    body = {
        "location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"},
        "properties": {"largeFileSharesState": "Enabled"},
    }  # fmt: skip
    await (
        await clients.storage.storage_accounts.begin_create("rg-recorded", account, body)
    ).result()
    key = SharedKey(
        account,
        (await clients.storage.storage_accounts.list_keys("rg-recorded", account))["keys"][0][
            "value"
        ],
    )
    found = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=azure.tls())) as http:
        for index, exchange in enumerate(exchanges):
            later = next(
                (
                    one.headers
                    for one in exchanges[index + 1 :]
                    if one.path == exchange.path and one.method != "PUT"
                ),
                {},
            )
            sent, path = body_of(exchange), f"/{account}{quote(exchange.path)}"
            now, given = datetime.now(UTC), headers_of(exchange, later)
            signed = key.sign(exchange.method, path, exchange.query, given, len(sent), now)
            query = f"?{urlsplit(exchange.url).query}" if exchange.query else ""
            async with http.request(
                exchange.method, aiohttp.client.URL(f"{azure.endpoint}{path}{query}", encoded=True), headers=signed, data=sent,
                skip_auto_headers=("Content-Type",),
            ) as answer:  # fmt: skip
                headers = {name.lower(): value for name, value in answer.headers.items()}
                text = (await answer.read()).decode("utf-8", "replace")
            found += [
                f"{exchange.index} {exchange.method} {exchange.path}{query}: {what}"
                for what in differences(exchange, answer.status, headers, text)
            ]
    assert not found, f"{reason}:\n" + "\n".join(found)
