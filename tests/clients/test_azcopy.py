"""azcopy against the local Azure's files: both ways, within it, and what a signature does not
allow.
"""

import filecmp
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from azure.storage.fileshare import (
    AccountSasPermissions,
    ResourceTypes,
    ShareSasPermissions,
    generate_account_sas,
    generate_share_sas,
)
from azure.storage.fileshare.aio import ShareServiceClient

from tests.local_azure.conftest import LocalAzure, connect

from .conftest import Tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Place:
    """A fresh share: its URL, and what signs for it."""

    url: str
    account: str
    share: str
    key: str

    def signed(self, permissions: str, hours: float = 1) -> str:
        allowed = ShareSasPermissions.from_string(permissions)
        sas = generate_share_sas(
            self.account, self.share, self.key, allowed, datetime.now(UTC) + timedelta(hours=hours)
        )
        return f"?{sas}"


@pytest_asyncio.fixture
async def place(azure: LocalAzure) -> AsyncIterator[Place]:
    share = f"copied-{os.urandom(4).hex()}"
    async with AsyncExitStack() as stack:
        clients = await connect(azure, stack)
        await clients.resources.resource_groups.create_or_update(
            "rg-azcopy", {"location": "swedencentral"}
        )
        body = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
        await (
            await clients.storage.storage_accounts.begin_create("rg-azcopy", "stazcopy", body)
        ).result()
        key = (await clients.storage.storage_accounts.list_keys("rg-azcopy", "stazcopy"))["keys"][
            0
        ]["value"]
        url = f"{azure.endpoint}/stazcopy"
        async with ShareServiceClient(
            url, credential=key, connection_verify=azure.facts["caFile"]
        ) as service:
            await service.create_share(share, quota=1)
        yield Place(f"{url}/{share}", "stazcopy", share, key)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with what is easily lost: an empty file, an empty folder, a file of several ranges,
    odd names.
    """
    source = tmp_path / "source"
    (source / "below" / "deeper").mkdir(parents=True)
    (source / "nothing here").mkdir()
    (source / "empty").touch()
    (source / "below" / "größe ü+& =1.txt").write_text("text")
    (source / "below" / "deeper" / "big.bin").write_bytes(os.urandom(9_000_000))
    for path in source.rglob(
        "*"
    ):  # Last-Modified has whole seconds: what is of the same second a sync takes for newer
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return source


def _same(one: Path, other: Path) -> bool:
    compared = filecmp.dircmp(one, other)
    differing = (
        compared.left_only + compared.right_only + compared.diff_files + compared.funny_files
    )
    return not differing and all(_same(one / name, other / name) for name in compared.common_dirs)


def test_a_folder_goes_up_and_comes_down(
    azcopy: Tool, place: Place, source: Path, tmp_path: Path
) -> None:
    """Every file and folder arrives as it left, and a second sync finds nothing to do."""
    sas = place.signed("rcwdl")
    up = azcopy.run(
        "copy", str(source), f"{place.url}/up{sas}", "--from-to=LocalFile", "--recursive"
    )
    assert "Final Job Status: Completed\n" in up
    down = azcopy.run(
        "copy",
        f"{place.url}/up/source{sas}",
        str(tmp_path / "back"),
        "--from-to=FileLocal",
        "--recursive",
    )
    assert "Final Job Status: Completed\n" in down
    assert _same(source, tmp_path / "back" / "source")
    again = azcopy.run(
        "sync", str(source), f"{place.url}/up/source{sas}", "--from-to=LocalFile", "--recursive"
    )
    assert "Number of Copy Transfers for Files: 0" in again


def test_a_folder_is_copied_within_the_account_and_removed(
    azcopy: Tool, place: Place, source: Path
) -> None:
    """Server to server by ranges of a URL, then removed with all that is in it."""
    sas = place.signed("rcwdl")
    azcopy.run("copy", f"{source}/below", f"{place.url}{sas}", "--from-to=LocalFile", "--recursive")
    azcopy.run(
        "copy",
        f"{place.url}/below{sas}",
        f"{place.url}/second{sas}",
        "--from-to=FileFile",
        "--recursive",
    )
    listed = azcopy.run("list", f"{place.url}/second{sas}", "--location=File")
    assert "below/deeper/big.bin; Content Length: 8.58 MiB" in listed
    azcopy.run("remove", f"{place.url}/below{sas}", "--from-to=FileTrash", "--recursive")
    assert "big.bin" not in azcopy.run(
        "list", f"{place.url}/below{sas}", "--location=File", status=1
    )


def test_a_signature_that_does_not_reach_is_refused(
    azcopy: Tool, place: Place, source: Path, tmp_path: Path
) -> None:
    """Reading rights do not write, an expired signature does not read, an account SAS without
    objects reads no file.
    """
    azcopy.run(
        "copy",
        f"{source}/empty",
        f"{place.url}/empty{place.signed('rcwdl')}",
        "--from-to=LocalFile",
    )
    refused = azcopy.run(
        "copy",
        f"{source}/empty",
        f"{place.url}/new{place.signed('rl')}",
        "--from-to=LocalFile",
        status=1,
    )
    assert (
        "Number of File Transfers Failed: 1" in refused
        or "AuthorizationPermissionMismatch" in refused
    )
    azcopy.run(
        "copy",
        f"{place.url}/empty{place.signed('r', hours=-1)}",
        str(tmp_path / "e"),
        "--from-to=FileLocal",
        status=1,
    )
    only_shares = generate_account_sas(
        place.account,
        place.key,
        ResourceTypes(container=True),
        AccountSasPermissions(read=True, list=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    azcopy.run(
        "copy",
        f"{place.url}/empty?{only_shares}",
        str(tmp_path / "f"),
        "--from-to=FileLocal",
        status=1,
    )
    assert not (tmp_path / "e").exists()
    assert not (tmp_path / "f").exists()
