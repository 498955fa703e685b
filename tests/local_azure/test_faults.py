"""Scripted faults against a running local Azure, seen through the real SDK clients and plain HTTPS;
scripts and their mistakes.
"""

import asyncio
import json

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

from tests.local_azure.fault_scripts import (
    ACCOUNT,
    ENVIRONMENT,
    GROUPS,
    book,
    faults,
    none_left,  # noqa: F401 - fixtures
    put_group,
    script,
)

REFUSALS = [
    (
        {"fault": "Throttle", "retryAfter": 3},
        429,
        "SubscriptionRequestsThrottled",
        "3",
        "throttled, told how long",
    ),
    (
        {"fault": "Throttle"},
        429,
        "SubscriptionRequestsThrottled",
        None,
        "throttled without Retry-After",
    ),
    (
        {"fault": "Throttle", "code": "429", "message": "slow"},
        429,
        "429",
        None,
        "a number for a code",
    ),
    ({"fault": "Conflict"}, 409, "AnotherOperationInProgress", None, "somebody is at work"),
    ({"fault": "Error", "status": 500}, 500, "InternalServerError", None, "the front fails"),
    ({"fault": "Error", "status": 502}, 502, "BadGateway", None, "the provider is not reached"),
    ({"fault": "Error", "status": 503}, 503, "ServiceUnavailable", None, "Azure is down"),
    (
        {"fault": "ExpiredToken"},
        401,
        "ExpiredAuthenticationToken",
        None,
        "a token that ran out early",
    ),
    ({"fault": "Forbidden"}, 403, "AuthorizationFailed", None, "a role is missing"),
    (
        {"fault": "PolicyDenied", "policy": "no-sweden"},
        403,
        "RequestDisallowedByPolicy",
        None,
        "a policy forbids it",
    ),
]


@pytest.mark.parametrize(
    ("fault", "status", "code", "retry_after", "reason"),
    REFUSALS,
    ids=[case[-1] for case in REFUSALS],
)
async def test_a_refusal_hits_once_and_has_azures_shape(
    azure, clients, tmp_path, fault, status, code, retry_after, reason
):
    """The scripted request gets the vendor's status, code and headers and writes nothing; the next
    one works.
    """
    name = f"rg-{status}-{abs(hash(reason)) % 10**6}"
    script(
        azure, tmp_path, {**fault, "operation": GROUPS, "method": "PUT", "name": name, "times": 1}
    )
    try:
        got, headers, body = await put_group(clients, name)
    except HttpResponseError as refused:  # the SDK reads a 401 challenge itself
        got, headers, body = refused.status_code, refused.response.headers, refused.response.json()
    assert (got, body["error"]["code"], headers.get("Retry-After")) == (status, code, retry_after)
    if code == "RequestDisallowedByPolicy":
        assert body["error"]["additionalInfo"][0]["info"]["policyDefinitionName"] == "no-sweden"
    hit = azure.journal("arm")[-1]
    assert (hit["status"], hit["faults"]) == (status, [f"{fault['fault']}-1"])
    assert (await clients.raw("GET", clients.group(name), version="2025-04-01"))[0] == 404
    assert (await put_group(clients, name))[0] == 201


async def test_a_reset_before_writes_nothing_and_one_after_has_written(azure, clients, tmp_path):
    """The client sees the same broken connection; the journal says 0 for the one, the real status
    for the other.
    """
    script(
        azure,
        tmp_path,
        {"fault": "ResetBefore", "name": "rg-before"},
        {"fault": "ResetAfter", "name": "rg-after"},
    )
    for name in ("rg-before", "rg-after"):
        with pytest.raises((ServiceRequestError, ServiceResponseError)):
            await put_group(clients, name)
    # aiohttp, below the SDK, sends an idempotent request once more when a connection breaks.
    seen = [
        (entry["status"], entry["faults"])
        for entry in azure.journal("arm")
        if entry["path"].endswith(("rg-before", "rg-after"))
    ]
    assert seen == [(0, ["ResetBefore-1"])] * 2 + [(201, ["ResetAfter-1"]), (200, ["ResetAfter-1"])]
    faults(azure, "clear")
    assert (await clients.raw("GET", clients.group("rg-before"), version="2025-04-01"))[0] == 404
    assert (await clients.raw("GET", clients.group("rg-after"), version="2025-04-01"))[0] == 200


async def test_a_slow_answer_delays_nobody_else(azure, clients, tmp_path):
    """A request that takes its time does not stop others from being answered."""
    script(azure, tmp_path, {"fault": "Slow", "name": "rg-slow", "seconds": 600})
    slow = asyncio.create_task(put_group(clients, "rg-slow"))
    with book(azure) as opened:
        while not opened.entries()[0].hit:
            await asyncio.sleep(0.02)
    assert (await put_group(clients, "rg-quick"))[0] == 201
    assert not slow.done()
    slow.cancel()


@pytest.mark.parametrize(
    ("fault", "status", "state", "error"),
    [
        ({"fault": "OperationSlow", "seconds": 0.5}, "Succeeded", "Succeeded", None),
        ({"fault": "OperationFails"}, "Failed", "Failed", "ManagedEnvironmentUpgradeError"),
        (
            {"fault": "OperationFails", "seconds": 0.3, "code": "100026"},
            "Failed",
            "Failed",
            "100026",
        ),
        ({"fault": "OperationCanceled"}, "Canceled", "Canceled", "OperationCanceled"),
        (
            {"fault": "OperationHangs", "seconds": 0.5},
            "Failed",
            "Failed",
            "ManagedEnvironmentUpgradeError",
        ),
        ({"fault": "OperationDeceives"}, "Succeeded", "Failed", None),
        (
            {"fault": "NoCapacity"},
            "Failed",
            "Failed",
            "ManagedEnvironmentNoAvailableCapacityInRegion",
        ),
    ],
    ids=[
        "is slow",
        "fails",
        "fails late with a code of its own",
        "is canceled",
        "hangs",
        "succeeds and did not",
        "finds no capacity",
    ],
)
async def test_an_operation_ends_as_scripted(azure, clients, tmp_path, fault, status, state, error):
    """Accepted as ever, then its status and the resource tell of the failure; the next write heals
    it.
    """
    await put_group(clients, "rg-operations")
    path = f"{clients.group('rg-operations')}/providers/Microsoft.App/managedEnvironments/cae-{abs(hash(str(fault))) % 10**6}"
    script(azure, tmp_path, {**fault, "operation": "Microsoft.App/managedEnvironments", "times": 1})
    for times, (wanted, end, code) in enumerate(
        [(status, state, error), ("Succeeded", "Succeeded", None)]
    ):
        answer = await clients.raw("PUT", path, {**ENVIRONMENT, "tags": {"try": str(times)}})
        assert answer[0] == 201
        while (polled := (await clients.raw("GET", answer[1]["Azure-AsyncOperation"]))[2])[
            "status"
        ] == "InProgress":
            await asyncio.sleep(0.02)
        assert (polled["status"], polled.get("error", {}).get("code")) == (wanted, code)
        got = (await clients.raw("GET", path))[2]["properties"]
        assert got["provisioningState"] == end
        assert ("deploymentErrors" in got) == (end != "Succeeded")


async def test_an_account_whose_creation_failed_is_not_there(azure, clients, tmp_path):
    """A Location answers with the operation's error; the account can be made again."""
    await put_group(clients, "rg-account")
    script(
        azure,
        tmp_path,
        {"fault": "OperationFails", "operation": "Microsoft.Storage/storageAccounts", "times": 1},
    )
    poller = await clients.storage.storage_accounts.begin_create("rg-account", "stfails01", ACCOUNT)
    with pytest.raises(HttpResponseError) as failed:
        await poller.result()
    assert failed.value.error.code == "InternalServerError"
    poller = await clients.storage.storage_accounts.begin_create("rg-account", "stfails01", ACCOUNT)
    assert (await poller.result()).name == "stfails01"


async def test_a_list_is_behind_what_was_written(azure, clients, tmp_path):
    """A new group is missing from lists, and a deleted one stays in them, for as long as the script
    says; a GET knows at once.
    """
    await put_group(clients, "rg-old")
    script(azure, tmp_path, {"fault": "StaleList", "operation": GROUPS, "seconds": 1.5})
    await put_group(clients, "rg-new")
    await (await clients.resources.resource_groups.begin_delete("rg-old")).result()

    async def listed():
        return {group.name async for group in clients.resources.resource_groups.list()} & {
            "rg-old",
            "rg-new",
        }

    assert await listed() == {"rg-old"}
    assert (await clients.raw("GET", clients.group("rg-old"), version="2025-04-01"))[0] == 404
    assert (await clients.raw("GET", clients.group("rg-new"), version="2025-04-01"))[0] == 200
    while await listed() != {"rg-new"}:
        await asyncio.sleep(0.05)


async def test_an_environment_turns_failed_and_a_patch_that_changes_nothing_heals_it(
    azure, clients, tmp_path
):
    """Apps are refused while it is Failed; tags written again bring it back."""
    await put_group(clients, "rg-flips")
    path = f"{clients.group('rg-flips')}/providers/Microsoft.App/managedEnvironments/cae-flips"
    await (
        await clients.apps.managed_environments.begin_create_or_update(
            "rg-flips", "cae-flips", ENVIRONMENT
        )
    ).result()
    script(azure, tmp_path, {"fault": "EnvironmentFails", "method": "PATCH", "times": 1})
    await clients.raw("PATCH", path, {"tags": {"cost": "1"}})
    got = (await clients.raw("GET", path))[2]["properties"]
    assert (
        got["provisioningState"],
        "ManagedEnvironmentUpgradeError" in got["deploymentErrors"],
    ) == ("Failed", True)
    app = {
        "location": "swedencentral",
        "properties": {
            "environmentId": path,
            "template": {"containers": [{"name": "a", "image": "b"}]},
        },
    }
    refused = await clients.raw(
        "PUT", f"{clients.group('rg-flips')}/providers/Microsoft.App/containerApps/web", app
    )
    assert (refused[0], refused[2]["error"]["code"]) == (409, "ManagedEnvironmentNotProvisioned")
    await clients.raw("PATCH", path, {"tags": {"cost": "1"}})
    assert (await clients.raw("GET", path))[2]["properties"]["provisioningState"] == "Succeeded"


def test_the_script_outlives_a_kill(make_azure, tmp_path):
    """Faults and what they have hit are on disk: a server killed in between goes on counting."""
    azure = make_azure("--operation-seconds", "0.05")
    script(
        azure, tmp_path, {"fault": "Error", "plane": "login", "status": 503, "after": 1, "times": 2}
    )

    def ask():
        async def post():
            async with (
                aiohttp.ClientSession(
                    azure.endpoint, connector=aiohttp.TCPConnector(ssl=azure.tls())
                ) as http,
                http.post(f"/{azure.facts['tenantId']}/oauth2/v2.0/token", data={}) as answer,
            ):
                return answer.status

        return asyncio.run(post())

    seen = [ask(), ask()]
    azure.kill()
    azure.start()
    assert [*seen, ask(), ask()] == [400, 503, 503, 400]
    assert json.loads(faults(azure, "list", "-o", "json"))["faults"][0] | {"after": 1} == {
        "fault": "Error", "id": "Error-1", "plane": "login", "status": 503, "after": 1, "times": 2,
        "matched": 4, "hit": 2, "over": True,
    }  # fmt: skip


def test_a_fault_on_everything_does_not_hide_that_the_server_runs(make_azure, tmp_path):
    """Whoever starts it meets the fault at the first request, and not a start that fails."""
    azure = make_azure()
    for fault in ({"fault": "Error", "status": 503}, {"fault": "ResetBefore"}):
        script(azure, tmp_path, {**fault, "plane": "arm"})
        assert azure.command("status")["healthy"] is True
