"""What keeps a caller from writing though nothing is wrong with the request: locks and request
limits.
"""

import asyncio
from contextlib import AsyncExitStack

import pytest
from azure.core.exceptions import HttpResponseError

ACCOUNT = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
LOCKS = "providers/Microsoft.Authorization/locks"
VERSION = "2020-05-01"


@pytest.fixture
async def account(clients):
    """A group with an account, both free of locks at the end."""
    await clients.raw(
        "PUT", clients.group("rg-locks"), {"location": "swedencentral"}, version="2025-04-01"
    )
    await (
        await clients.storage.storage_accounts.begin_create("rg-locks", "stlocks01", ACCOUNT)
    ).result()
    yield f"{clients.group('rg-locks')}/providers/Microsoft.Storage/storageAccounts/stlocks01"
    for lock in (await clients.raw("GET", f"{clients.group('rg-locks')}/{LOCKS}", version=VERSION))[
        2
    ]["value"]:
        await clients.raw("DELETE", lock["id"], version=VERSION)


async def lock(clients, scope, level, name="keep"):
    body = {"properties": {"level": level, "notes": "by a test"}}
    return await clients.raw("PUT", f"{scope}/{LOCKS}/{name}", body, version=VERSION)


async def code_of(clients, method, path, body=None):
    status, _, answer = await clients.raw(method, path, body, version="2026-09-01")
    return status, (answer or {}).get("error", {}).get("code")


async def test_a_lock_is_a_resource_of_its_scope(clients, account):
    """PUT, GET, list from above and DELETE, at a group and at a resource; it goes away with what it
    locks.
    """
    group = clients.group("rg-locks")
    status, _, made = await lock(clients, account, "cannotdelete")
    assert (status, made["id"], made["type"]) == (
        201,
        f"{account}/{LOCKS}/keep",
        "Microsoft.Authorization/locks",
    )
    assert made["properties"] == {"level": "CanNotDelete", "notes": "by a test"}
    assert (await lock(clients, group, "ReadOnly", "all"))[0] == 201
    assert (await lock(clients, account, "CanNotDelete"))[0] == 200
    listed = (await clients.raw("GET", f"{group}/{LOCKS}", version=VERSION))[2]["value"]
    assert [entry["name"] for entry in listed] == ["keep", "all"]
    assert [
        e["name"]
        for e in (await clients.raw("GET", f"{account}/{LOCKS}", version=VERSION))[2]["value"]
    ] == ["keep"]
    assert (await clients.raw("GET", f"{account}/{LOCKS}/none", version=VERSION))[0] == 404
    assert (await lock(clients, account, "Sometimes"))[0] == 400
    assert (await lock(clients, f"{account}x", "ReadOnly"))[0] == 404
    assert [
        (await clients.raw("DELETE", f"{account}/{LOCKS}/keep", version=VERSION))[0]
        for _ in range(2)
    ] == [200, 204]


@pytest.mark.parametrize("scope", ["group", "account"])
async def test_what_cannot_be_deleted_may_be_changed(clients, account, scope):
    """CanNotDelete refuses the delete of what it locks and of the group around it, and nothing
    else.
    """
    await lock(clients, clients.group("rg-locks") if scope == "group" else account, "CanNotDelete")
    for path in (account, clients.group("rg-locks")):
        assert await code_of(clients, "DELETE", path) == (409, "ScopeLocked")
    assert await code_of(clients, "PATCH", account, {"tags": {"a": "b"}}) == (200, None)
    assert await code_of(clients, "POST", f"{account}/listKeys") == (200, None)
    with pytest.raises(HttpResponseError, match="following scope\\(s\\) are locked"):
        await clients.storage.storage_accounts.delete("rg-locks", "stlocks01")


async def test_read_only_refuses_even_the_keys(clients, account):
    """ReadOnly refuses every write and every POST, listKeys among them; reads go on."""
    await lock(clients, clients.group("rg-locks"), "ReadOnly")
    assert await code_of(clients, "POST", f"{account}/listKeys") == (409, "ScopeLocked")
    assert await code_of(clients, "PATCH", account, {"tags": {}}) == (409, "ScopeLocked")
    assert await code_of(clients, "PUT", f"{account}x", ACCOUNT) == (409, "ScopeLocked")
    assert await code_of(clients, "GET", account) == (200, None)


async def test_an_empty_bucket_is_429_with_a_time_to_wait(make_azure, connected_to):
    """Reads, writes and deletes run out apart; headers count down; after the time told there is
    room again.
    """
    azure = make_azure("--rate-limits", "reads=3/1,writes=2/1")
    async with AsyncExitStack() as stack:
        clients = await connected_to(azure, stack)
        path = clients.group("rg-limits")
        seen = [
            await clients.raw("PUT", path, {"location": "eastus"}, version="2025-04-01")
            for _ in range(4)
        ]
        refused = next(answer for answer in seen if answer[0] == 429)
        assert [answer[0] for answer in seen[:2]] == [201, 200]
        assert seen[0][1]["x-ms-ratelimit-remaining-subscription-writes"] == "1"
        assert refused[2]["error"]["code"] == "SubscriptionRequestsThrottled"
        wait = int(refused[1]["Retry-After"])
        assert f"Please try again after '{wait}' seconds." in refused[2]["error"]["message"]
        assert (await clients.raw("GET", path, version="2025-04-01"))[0] == 200
        await asyncio.sleep(wait)
        assert (await clients.raw("PUT", path, {"location": "eastus"}, version="2025-04-01"))[
            0
        ] == 200


async def test_microsoft_app_counts_its_own_writes(make_azure, connected_to):
    """More than a hundred writes of environments in its interval are refused by the provider,
    whatever the front would allow.
    """
    azure = make_azure(
        "--operation-seconds", "20"
    )  # as slow as Azure: five minutes are five minutes
    async with AsyncExitStack() as stack:
        clients = await connected_to(azure, stack)
        await clients.raw(
            "PUT", clients.group("rg-app"), {"location": "swedencentral"}, version="2025-04-01"
        )
        path = f"{clients.group('rg-app')}/providers/Microsoft.App/managedEnvironments/cae"
        body = {"location": "swedencentral", "properties": {}}
        left = [
            (await clients.raw("PUT", path, body))[1].get(
                "x-ms-ratelimit-remaining-subscription-resource-requests"
            )
        ]
        answers = [await clients.raw("PATCH", path, {"tags": {}}) for _ in range(100)]
    assert left == ["99"]
    assert [answer[0] for answer in answers].count(429) == 1
    assert answers[-1][2]["error"]["code"] == "ResourceRequestsThrottled"
    assert (
        "exceeded the limit of '100' for time interval '00:05:00'"
        in answers[-1][2]["error"]["message"]
    )
