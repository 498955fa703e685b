"""The Activity Log: an event for each end of each write, read with a restricted filter."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

VALUES = "providers/Microsoft.Insights/eventtypes/management/values"
PLACE = {"location": "swedencentral"}


def start(days=1):
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


async def read(clients, *clauses, **query):
    wanted = " and ".join((f"eventTimestamp ge '{start()}'", *clauses))
    path = f"{clients.azure.subscription}/{VALUES}"
    status, _, body = await clients.raw(
        "GET", path, version="2015-04-01", **{"$filter": wanted, **query}
    )
    assert status == 200, body
    return body["value"]


def ends(events):
    return [(e["operationName"]["value"], e["status"]["value"]) for e in reversed(events)]


async def test_every_write_has_its_end(clients):
    """One that takes a while is first Accepted, then ended, under one correlation id; reads are
    not there, and a refused write Failed.
    """
    await clients.raw("PUT", clients.group("rg-log"), PLACE, version="2025-04-01")
    environment = f"{clients.group('rg-log')}/providers/Microsoft.App/managedEnvironments/cae-log"
    body = {**PLACE, "properties": {}}
    await (
        await clients.apps.managed_environments.begin_create_or_update("rg-log", "cae-log", body)
    ).result()
    await clients.raw("GET", environment)
    await clients.raw("PUT", f"{environment}/storages/none", {"properties": {}})
    await clients.raw("POST", f"{environment}/getAuthToken")
    events = await read(clients, "resourceGroupName eq 'RG-log'")
    kind = "Microsoft.App/managedEnvironments"
    assert ends(events) == [
        ("Microsoft.Resources/subscriptions/resourceGroups/write", "Succeeded"),
        (f"{kind}/write", "Accepted"),
        (f"{kind}/write", "Succeeded"),
        (f"{kind}/storages/write", "Failed"),
        (f"{kind}/getAuthToken/action", "Succeeded"),
    ]
    began, ended = [e for e in events if e["operationName"]["value"] == f"{kind}/write"]
    assert began["correlationId"] == ended["correlationId"]
    assert {e["caller"] for e in events} == {clients.azure.facts["clientId"]}
    only = await read(clients, f"resourceUri eq '{environment}'", **{"$select": "caller,status"})
    assert [set(each) for each in only] == [{"caller", "status"}] * 3


async def test_a_running_operation_is_accepted_until_it_ends(clients, slow_operations):
    """Its last event comes at its end, with the id that the client gave its request."""
    body = {**PLACE, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
    await clients.raw("PUT", clients.group("rg-late"), PLACE, version="2025-04-01")
    account = f"{clients.group('rg-late')}/providers/Microsoft.Storage/storageAccounts/stlate01"
    await clients.raw("PUT", account, body, version="2026-09-01")
    assert ends(await read(clients, f"resourceId eq '{account}'"))[-1][1] == "Accepted"
    async with asyncio.timeout(90):
        while (
            ends(events := await read(clients, f"resourceId eq '{account}'"))[-1][1] != "Succeeded"
        ):
            await asyncio.sleep(0.1)
    assert len({e["httpRequest"]["clientRequestId"] for e in events}) == 1


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "resourceGroupName eq 'x'",
        f"eventTimestamp ge '{start(120)}'",
        "eventTimestamp ge 'now'",
        f"eventTimestamp ge '{start()}' and name eq 'x'",
    ],
    ids=["none", "no start", "too old", "no time", "unknown field"],
)
async def test_a_filter_that_azure_does_not_take_is_refused(clients, wanted):
    """400: the filter must name a start of the last 90 days, and fields that can be asked for."""
    query = {"$filter": wanted} if wanted else {}
    path = f"{clients.azure.subscription}/{VALUES}"
    status, _, body = await clients.raw("GET", path, version="2015-04-01", **query)
    assert (status, body["error"]["code"]) == (400, "BadRequest")


async def test_the_times_of_az_stand_without_quotes(clients):
    """`az monitor activity-log list` names both ends so; a name without quotes is still refused."""
    await clients.raw("PUT", clients.group("rg-bare"), PLACE, version="2025-04-01")
    path = f"{clients.azure.subscription}/{VALUES}"
    clauses = (f"eventTimestamp ge {start()}", f"eventTimestamp le {start(-1)}")
    found = {}
    for group in ("'rg-bare'", "rg-bare"):
        wanted = " and ".join((*clauses, f"resourceGroupName eq {group}"))
        status, _, body = await clients.raw(
            "GET", path, version="2015-04-01", **{"$filter": wanted}
        )
        found[group] = status, len(body.get("value", ()))
    assert found == {"'rg-bare'": (200, 1), "rg-bare": (400, 0)}
