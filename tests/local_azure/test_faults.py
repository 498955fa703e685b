"""Scripted faults against a running local Azure, seen through the real SDK clients and plain HTTPS;
scripts and their mistakes.
"""

import asyncio
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.storage.fileshare.aio import ShareServiceClient

from infra.local_azure.faults import commands
from infra.local_azure.faults import script as script_module
from infra.local_azure.faults.book import Book
from infra.local_azure.faults.fault import Event, Fault
from infra.local_azure.faults.kinds import KINDS, STATES

ROOT = Path(__file__).parents[2]
GROUPS = "Microsoft.Resources/resourceGroups"
ENVIRONMENT = {"location": "swedencentral", "properties": {"workloadProfiles": []}}
ACCOUNT = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}


def faults(azure, *words, code=0):
    """`faults …` as a user types it; what it printed."""
    call = [
        sys.executable,
        "-m",
        "infra.local_azure",
        "faults",
        words[0],
        "--state-dir",
        str(azure.state),
        *words[1:],
    ]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def script(azure, tmp_path, *entries, seed=0):
    """Make these the whole script, as `faults load` does."""
    file = tmp_path / "faults.json"  # JSON is YAML
    file.write_text(json.dumps({"seed": seed, "faults": list(entries)}))
    assert commands.load(azure.state / "faults.db", file) == 0


def book(azure):
    return closing(Book(azure.state / "faults.db"))


@pytest.fixture(autouse=True)
def none_left(request):
    """A test's faults end with it."""
    yield
    if "azure" in request.fixturenames:
        with book(request.getfixturevalue("azure")) as opened:
            opened.clear()


async def put_group(clients, name):
    return await clients.raw(
        "PUT", clients.group(name), {"location": "swedencentral"}, version="2025-04-01"
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
    """A Location answers with the operation's error; the account can be made anew."""
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


@pytest.fixture
async def share(azure, share_service):
    share = share_service.get_share_client("phi")
    await share.create_share()
    return share


FILES = [
    ({"fault": "Throttle"}, 503, "ServerBusy", "storage throttles with 503"),
    ({"fault": "Error", "status": 500}, 500, "InternalError", "a 500 of the data plane"),
    ({"fault": "Conflict"}, 409, "SharingViolation", "an SMB client holds the file"),
    ({"fault": "Forbidden"}, 403, "AuthorizationPermissionMismatch", "the data role is missing"),
    ({"fault": "ShareFull"}, 403, "ShareSizeLimitReached", "no room left"),
]


@pytest.mark.parametrize(
    ("fault", "status", "code", "reason"), FILES, ids=[case[-1] for case in FILES]
)
async def test_a_files_refusal_has_the_data_planes_shape(
    azure, share, tmp_path, fault, status, code, reason
):
    """An XML error with its code; nothing is written, and the next attempt works."""
    script(azure, tmp_path, {**fault, "operation": "CreateFile", "name": "a.bin", "times": 1})
    with pytest.raises(HttpResponseError) as refused:
        await share.get_file_client("a.bin").create_file(4, data=b"data")
    assert (refused.value.status_code, refused.value.response.headers["x-ms-error-code"]) == (
        status,
        code,
    )
    assert [entry["name"] async for entry in share.list_directories_and_files()] == []
    await share.get_file_client("a.bin").create_file(4, data=b"data")


async def test_a_share_out_of_reach(azure, share, tmp_path):
    """Every request to it is cut off, until the script is cleared."""
    script(azure, tmp_path, {"fault": "ShareUnreachable", "name": "*/phi*"})
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await share.get_file_client("b.bin").create_file(4, data=b"data")
    faults(azure, "clear")
    await share.get_file_client("b.bin").create_file(4, data=b"data")


async def test_torn_and_stale_reads(azure, share, tmp_path):
    """A file's second half is zeros, and a new file is missing from the listing; then both are as
    they are.
    """
    await share.get_file_client("c.bin").upload_file(b"abcdefgh")
    script(
        azure,
        tmp_path,
        {"fault": "TornRead", "name": "c.bin", "times": 1},
        {"fault": "StaleList", "seconds": 60, "times": 1},
    )
    assert await (await share.get_file_client("c.bin").download_file()).readall() == b"abcd\0\0\0\0"
    assert [entry["name"] async for entry in share.list_directories_and_files()] == []
    assert await (await share.get_file_client("c.bin").download_file()).readall() == b"abcdefgh"
    assert [entry["name"] async for entry in share.list_directories_and_files()] == ["c.bin"]


async def test_a_rotated_key_is_refused_at_the_next_request(azure, clients, make_account, tmp_path):
    """The key that worked a moment ago does not any more; the account lists the new one."""
    account, key = await make_account("rg-rotate", "strotate01")
    settings = {"connection_verify": azure.facts["caFile"], "retry_total": 0}
    async with ShareServiceClient(
        f"{azure.endpoint}/{account}", credential=key, **settings
    ) as service:
        await service.create_share("phi")
        script(azure, tmp_path, {"fault": "RotateKey", "name": account, "times": 1})
        with pytest.raises(HttpResponseError) as refused:
            await service.create_share("two")
    assert refused.value.status_code == 403
    assert (await clients.storage.storage_accounts.list_keys("rg-rotate", account))["keys"][0][
        "value"
    ] != key


async def test_no_token_is_given(azure, http, tmp_path):
    """Login is throttled and fails with AADSTS bodies."""
    script(
        azure,
        tmp_path,
        {"fault": "Throttle", "plane": "login", "retryAfter": 1, "times": 1},
        {"fault": "Error", "plane": "login", "status": 503},
    )
    url = f"/{azure.facts['tenantId']}/oauth2/v2.0/token"
    for status, code in ((429, 90055), (503, 90033)):
        async with http.post(url, data={"grant_type": "client_credentials"}) as answer:
            assert (answer.status, (await answer.json())["error_codes"]) == (status, [code])


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


MISTAKES = [
    ("faults:\n  - fault: Explode\n", "2:5", "must be one of", "no such fault"),
    (
        "- fault: Slow\n  seconds: soon\n",
        "2:3",
        "seconds must be a number from 0 on",
        "not a number",
    ),
    (
        "- fault: Slow\n  status: 500\n",
        "2:3",
        "Slow has no field 'status'",
        "another fault's field",
    ),
    (
        "- fault: ShareFull\n  plane: arm\n",
        "2:3",
        "happens on files, not on arm",
        "a plane where it cannot happen",
    ),
    (
        "- fault: Error\n  probability: 2\n",
        "2:3",
        "probability must be a number from 0 to 1",
        "no probability",
    ),
    (
        "- fault: Slow\n  id: x\n- fault: Error\n  id: x\n",
        "4:3",
        "there is a fault 'x' already",
        "an id twice",
    ),
    (
        "- fault: Throttle\n  retryAfter: 0\n",
        "2:3",
        "retryAfter must be a whole number from 1",
        "Retry-After: 0 is a trap",
    ),
    ("- Slow\n", "1:", "must be a mapping", "no mapping"),
    ("seed: 1\n", "1:1", "must be a list of faults", "no faults"),
    ("seed: x\nfaults: []\n", "1:1", "seed must be a whole number", "no seed"),
    ("faults: [\n", "", "", "broken YAML"),
    ("- fault: [\n", "", "", "broken YAML in a list"),
    ("a: 1\nfaults: []\n", "1:1", "unknown field 'a'", "an unknown field at the top"),
]


@pytest.mark.parametrize(
    ("text", "place", "sentence", "reason"), MISTAKES, ids=[case[-1] for case in MISTAKES]
)
def test_a_mistake_in_a_script_is_told_at_its_place(tmp_path, text, place, sentence, reason):
    """file:line:column and a sentence."""
    file = tmp_path / "faults.yaml"
    file.write_text(text)
    with pytest.raises(script_module.ScriptError) as wrong:
        script_module.read(file)
    assert str(wrong.value).startswith(f"{file}:{place}")
    assert sentence in str(wrong.value)


def test_a_wrong_script_changes_nothing(tmp_path):
    """Exit code 2 with the place of the mistake, from a file or the command line, and the script in
    force stays.
    """
    azure = type("Azure", (), {"state": tmp_path / "state"})
    faults(azure, "add", "Slow", "--id", "kept", "--seconds", "0.5")
    file = tmp_path / "faults.yaml"
    file.write_text(MISTAKES[0][0])
    assert faults(azure, "load", str(file), code=2).startswith(f"{file}:2:5: fault must be one of")
    assert "Slow has no field 'retryAfter'" in faults(
        azure, "add", "Slow", "--retry-after", "1", code=2
    )
    assert faults(azure, "list").startswith("kept: Slow seconds=0.5")


def test_every_fault_can_be_added_and_is_shown(tmp_path):
    """What the table holds, the command takes, and lists as it was given."""
    azure = type("Azure", (), {"state": tmp_path / "state"})
    script(azure, tmp_path, *({"fault": kind.lower(), "name": "web*"} for kind in KINDS))
    faults(azure, "add", "slow", "--name", "web*", "--seconds", "0.5", "--times", "2")
    shown = json.loads(faults(azure, "list", "-o", "json"))["faults"]
    assert [(entry["fault"], entry["name"]) for entry in shown] == [
        (kind, "web*") for kind in (*KINDS, "Slow")
    ]
    assert "no faults" in faults(azure, "clear")
    assert "there is no fault" in faults(azure, "clear", "Slow-1", code=2)


def test_draws_depend_on_the_seed_alone(tmp_path):
    """The same seed hits the same events whatever else is drawn in between; another seed hits
    others.
    """

    def hits(seed, file, *others):
        with closing(Book(tmp_path / file)) as opened:
            opened.replace([Fault("half", "Slow", plane="arm", probability=0.5), *others], seed)
            drawn = [opened.draw(Event("arm", "GET", "x"), {"Slow", "Error"}) for _ in range(200)]
        return [fault is not None and fault.id == "half" for fault in drawn]

    first = hits(1, "a")
    assert first == hits(1, "b", Fault("other", "Error", probability=0.5))
    assert first != hits(2, "c")
    assert 60 < sum(first) < 140


def test_a_state_stands_until_its_time_is_over(tmp_path):
    """Faults of replicas have no events: they are in force from the moment they are scripted."""
    with closing(Book(tmp_path / "book")) as opened:
        opened.replace(
            [Fault("a", "ReplicaHangs", name="web"), Fault("b", "ReplicaCrashes", lasts=0)], 0
        )
        assert [fault.id for fault in opened.standing(STATES)] == ["a"]
