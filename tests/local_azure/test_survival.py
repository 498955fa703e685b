"""The server process: started once, killed at any moment, stopped whole; and the
journal it leaves.
"""

import asyncio
import json
import stat
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from azure.storage.fileshare.aio import ShareServiceClient

ACCOUNT = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}


@pytest.fixture
def own_azure(make_azure):
    """A server that this test may kill."""
    return make_azure("--operation-seconds", "0.3")


def test_start_is_idempotent_and_the_facts_stay(own_azure):
    """A second start answers at once with the same facts; a restart keeps port, tenant, secret and
    certificate.
    """
    facts = own_azure.facts
    assert set(facts) == {
        "armEndpoint",
        "authority",
        "caFile",
        "tenantId",
        "clientId",
        "clientSecret",
        "subscriptionId",
        "started",
    }
    assert own_azure.command("start") == {**facts, "started": False}
    pid = own_azure.command("status")["pid"]
    assert own_azure.command("stop") == {"stopped": True}
    assert own_azure.command("status")["running"] is False
    assert own_azure.command("stop") == {"stopped": False}
    assert own_azure.command("start") == facts
    assert own_azure.command("status")["pid"] != pid


def test_two_starts_at_once_make_one_server(tmp_path):
    """Whoever comes second waits for the first one's server."""
    call = [
        sys.executable,
        "-m",
        "infra.local_azure",
        "start",
        "--state-dir",
        str(tmp_path / "s"),
        "-o",
        "json",
    ]
    both = [
        subprocess.Popen(call, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = (json.loads(starter.communicate(timeout=60)[0]) for starter in both)
    subprocess.run(
        [*call[:3], "stop", "--state-dir", str(tmp_path / "s")],
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert first == second


def test_secrets_are_the_owners_alone(own_azure):
    """Nothing in the state folder but share content is readable by others, and the status shows no
    secret.
    """
    assert stat.S_IMODE(own_azure.state.stat().st_mode) == 0o700
    for path in own_azure.state.iterdir():
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert own_azure.facts["clientSecret"] not in json.dumps(own_azure.command("status"))
    assert own_azure.facts["clientSecret"] not in own_azure.log()


async def test_a_kill_in_the_middle_of_everything_loses_nothing(own_azure, connected_to):
    """Kill -9 while an account is being made and files are written: what was answered is there,
    what ran goes on.
    """
    async with AsyncExitStack() as stack:
        clients = await connected_to(own_azure, stack)
        await clients.resources.resource_groups.create_or_update(
            "rg", {"location": "swedencentral"}
        )
        poller = await clients.storage.storage_accounts.begin_create("rg", "stone", ACCOUNT)
        await poller.result()
        key = (await clients.storage.storage_accounts.list_keys("rg", "stone"))["keys"][0]["value"]
        url, ca = f"{own_azure.endpoint}/stone", own_azure.facts["caFile"]
        written = []
        async with ShareServiceClient(
            url, credential=key, connection_verify=ca, retry_total=0
        ) as service:
            share = service.get_share_client("phi")
            await share.create_share()
            lease = await share.acquire_lease(lease_duration=60)

            async def write():
                for number in range(10_000):
                    await share.get_file_client(f"f{number}").create_file(4, data=b"data")
                    written.append(number)

            writer = asyncio.create_task(write())
            status, headers, _ = await clients.raw(
                "PUT",
                f"{clients.group('rg')}/providers/Microsoft.Storage/storageAccounts/sttwo",
                ACCOUNT,
                version="2026-09-01",
            )
            assert status == 202
            while len(written) < 20:
                await asyncio.sleep(0.01)
            own_azure.kill()
            with pytest.raises(Exception, match=r"."):
                await writer
            own_azure.start()
            assert [entry["name"] async for entry in share.list_directories_and_files()][
                : len(written)
            ]
            names = {entry["name"] async for entry in share.list_directories_and_files()}
            assert {f"f{number}" for number in written} <= names
            await lease.renew()
            while (polled := await clients.raw("GET", headers["Location"]))[0] == 202:
                await asyncio.sleep(0.02)
            assert polled[2]["properties"]["provisioningState"] == "Succeeded"
            assert (await clients.storage.storage_accounts.list_keys("rg", "stone"))["keys"][0][
                "value"
            ] == key
    puts = [
        entry
        for entry in own_azure.journal("files")
        if entry["method"] == "PUT" and "/phi/f" in entry["path"]
    ]
    assert {entry["path"].rsplit("/f", 1)[1] for entry in puts} >= {
        str(number) for number in written
    }


async def test_the_journal_tells_every_request_without_secrets(own_azure, connected_to):
    """Time, client, method, path, status and plane of all three planes; no token, no key, no
    signature.
    """
    async with AsyncExitStack() as stack:
        clients = await connected_to(own_azure, stack)
        await clients.resources.resource_groups.create_or_update(
            "rg-journal", {"location": "eastus"}
        )
        await clients.raw("GET", clients.group("rg-none"))
    connector = aiohttp.TCPConnector(ssl=own_azure.tls())
    async with (
        aiohttp.ClientSession(own_azure.endpoint, connector=connector) as http,
        http.get("/stnone/share?sig=secret") as answer,
    ):
        assert answer.status == 404
    entries = own_azure.journal()
    assert all(
        {"time", "client", "method", "path", "status", "plane"} <= set(entry) for entry in entries
    )
    assert {entry["plane"] for entry in entries} == {"arm", "login", "files"}
    created = next(
        entry for entry in entries if entry["method"] == "PUT" and "rg-journal" in entry["path"]
    )
    assert (created["status"], created["client"].split("/")[0]) == (
        201,
        "azsdk-python-mgmt-resource",
    )
    assert [entry["status"] for entry in entries if entry["path"].endswith("rg-none")] == [404]
    text = (own_azure.state / "journal.jsonl").read_text()
    assert "secret" not in text
    assert "Bearer" not in text
    with (own_azure.state / "journal.jsonl").open("a") as file:
        file.write('{"torn')
    assert own_azure.journal() == entries or len(own_azure.journal()) >= len(entries)


def test_a_foreign_server_keeps_the_folder(own_azure):
    """A second server of the same folder refuses to run."""
    call = [sys.executable, "-m", "infra.local_azure", "serve", "--state-dir", str(own_azure.state)]
    done = subprocess.run(
        call,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "already serves" in done.stderr
