"""Long-running operations: the real SDK over HTTPS, against answers of the shapes that Azure was
recorded to give.
"""

import pytest

from reconciler.api.kinds import Kind
from reconciler.api.versions import APP as VERSION
from reconciler.arm import apps, environments, operations, resources, storage
from reconciler.engine.errors import Busy, NotReadyYet, Throttled, TransportFailed, WaitingForHuman
from tests.arm.conftest import SUBSCRIPTION

S = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{S}/resourceGroups/rg"
APP = f"{GROUP}/providers/Microsoft.App/containerApps/phi"
ENVIRONMENT = f"{GROUP}/providers/Microsoft.App/managedEnvironments/cae"
WORKSPACE = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/law"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/stphi01"
STATUS = f"{S}/providers/Microsoft.App/locations/swedencentral/containerappOperationStatuses/1"
ASYNC = {"Azure-AsyncOperation": "{url}" + STATUS + "?api-version=2026-07-01&t=1"}
LOCATION = {"Location": "{url}" + STATUS + "?api-version=2026-07-01&t=1"}


def status(state, **more):
    return {"id": STATUS, "name": "1", "status": state, "startTime": "2026-11-22T00:00:00Z", **more}


async def test_a_put_returns_at_once_and_sends_the_body_unchanged(arm, scripted):
    """A create issues one PUT with exactly the given JSON, unknown and null fields included, and
    hands back a token.
    """
    scripted.on(
        "PUT", APP, 201, {"name": "phi", "properties": {"provisioningState": "InProgress"}}, ASYNC
    )
    body = {
        "location": "swedencentral",
        "tags": {"a": "b"},
        "properties": {"x": None, "template": {"scale": {"minReplicas": 0}}},
    }
    operation = await apps.put_app(arm, "rg", "phi", body)
    assert operation.token
    assert [(method, url.split("?")[0], sent) for method, url, sent in scripted.asked] == [
        ("PUT", APP, body)
    ]


async def test_each_poll_is_one_request_and_ends_with_the_operation(arm, scripted):
    """InProgress, InProgress, Succeeded takes three polls and three requests; no final
    GET is made.
    """
    scripted.on("PUT", APP, 201, {"name": "phi", "properties": {}}, ASYNC)
    for state in ("InProgress", "InProgress", "Succeeded"):
        scripted.on(
            "GET",
            STATUS,
            200,
            status(state),
            {"retry-after-ms": "50"} if state == "InProgress" else {},
        )
    operation = await apps.put_app(arm, "rg", "phi", {})
    seen = [await operations.poll(arm, operation.token, APP) for _ in range(3)]
    assert [each.done for each in seen] == [False, False, True]
    assert seen[0].retry_after == 0.05
    assert seen[2].error is None
    assert len(scripted.asked) == 4


@pytest.mark.parametrize(
    ("said", "wait"),
    [({"retry-after-ms": "50"}, 0.05), ({"Retry-After": "17"}, 17.0), ({"Retry-After": "0"}, None)],
)
async def test_a_write_tells_how_long_azure_asks_to_wait(arm, scripted, said, wait):
    """The time is the one in the write's own answer; none, or 0, leaves it to the loop."""
    scripted.on("PUT", APP, 201, {"name": "phi", "properties": {}}, {**ASYNC, **said})
    scripted.on("DELETE", APP, 202, None, {**LOCATION, **said})
    begun = [await apps.put_app(arm, "rg", "phi", {}), await apps.delete_app(arm, "rg", "phi")]
    assert [operation.retry_after for operation in begun] == [wait, wait]


async def test_a_token_is_good_in_another_connection(arm, scripted):
    """A daemon that starts later polls the operation of the one before it and writes nothing."""
    from reconciler.arm.clients import Arm

    scripted.on("PUT", APP, 201, {"properties": {}}, ASYNC)
    scripted.on("GET", STATUS, 200, status("Succeeded"))
    operation = await apps.put_app(arm, "rg", "phi", {})
    async with Arm(scripted.settings()) as later:
        assert (await operations.poll(later, operation.token, APP)).done
    assert [method for method, _, _ in scripted.asked] == ["PUT", "GET"]


async def test_a_failed_operation_carries_azures_words(arm, scripted):
    """A status of Failed is done, with the code and message from its body, translated by
    the table.
    """
    scripted.on("PUT", ENVIRONMENT, 201, {"properties": {}}, ASYNC)
    error = {
        "code": "MaxNumberOfRegionalEnvironmentsInSubExceeded",
        "message": "The subscription has 20 environments.",
    }
    scripted.on("GET", STATUS, 200, status("Failed", error=error))
    operation = await environments.put_environment(arm, "rg", "cae", {})
    progress = await operations.poll(arm, operation.token, APP)
    assert progress.done
    assert isinstance(progress.error, WaitingForHuman)
    assert "20 environments" in progress.error.message


async def test_a_location_operation_waits_through_202_and_ends_without_a_body(arm, scripted):
    """A delete answers 202 with Location, then 202 until it ends with 204 and nothing in it."""
    scripted.on("DELETE", APP, 202, None, {**LOCATION, "Retry-After": "3"})
    scripted.on("GET", STATUS, 202, None, {**LOCATION, "Retry-After": "17"})
    scripted.on("GET", STATUS, 204)
    operation = await apps.delete_app(arm, "rg", "phi")
    first, second = (
        await operations.poll(arm, operation.token, APP),
        await operations.poll(arm, operation.token, APP),
    )
    assert (first.done, first.retry_after) == (False, 17.0)
    assert (second.done, second.error) == (True, None)


async def test_an_update_that_succeeds_as_an_operation_but_fails_as_a_resource_is_a_failure(
    arm, scripted
):
    """The Location ends 200 with a resource whose state is Failed: the resource has the
    last word.
    """
    scripted.on("PATCH", ENVIRONMENT, 202, None, LOCATION)
    words = (
        "ErrorCode: ManagedEnvironmentUpgradeError, Message: Update the managed environment failed."
    )
    scripted.on(
        "GET",
        STATUS,
        200,
        {"properties": {"provisioningState": "Failed", "deploymentErrors": words}},
    )
    operation = await environments.patch_environment(arm, "rg", "cae", {"tags": {}})
    progress = await operations.poll(arm, operation.token, APP)
    assert progress.done
    assert progress.error.reason == "Azure:ManagedEnvironmentUpgradeError"


async def test_a_workspace_is_polled_at_its_own_address_until_it_is_there(arm, scripted):
    """Log Analytics gives the workspace's own URL as Location; 200 with Creating is not the end."""
    creating = {"name": "law", "properties": {"provisioningState": "Creating"}}
    scripted.on(
        "PUT",
        WORKSPACE,
        201,
        creating,
        {"Location": "{url}" + WORKSPACE + "?api-version=2025-07-01"},
    )
    scripted.on("GET", WORKSPACE, 200, creating)
    scripted.on(
        "GET", WORKSPACE, 200, {"name": "law", "properties": {"provisioningState": "Succeeded"}}
    )
    operation = await resources.put_workspace(arm, "rg", "law", {"location": "swedencentral"})
    assert [(await operations.poll(arm, operation.token, APP)).done for _ in range(2)] == [
        False,
        True,
    ]


async def test_a_storage_account_is_created_by_location_alone(arm, scripted):
    """202 with an empty body and a Location, then 200 with the account."""
    scripted.on("PUT", ACCOUNT, 202, None, {**LOCATION, "Retry-After": "17"})
    scripted.on("GET", STATUS, 202, None, LOCATION)
    scripted.on(
        "GET", STATUS, 200, {"name": "stphi01", "properties": {"provisioningState": "Succeeded"}}
    )
    operation = await storage.put_storage_account(
        arm, "rg", "stphi01", {"location": "swedencentral"}
    )
    assert [(await operations.poll(arm, operation.token, APP)).done for _ in range(2)] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("path", "write"),
    [
        (ENVIRONMENT, environments.put_environment),
        (ACCOUNT, storage.put_storage_account),
        (WORKSPACE, resources.put_workspace),
    ],
)
async def test_a_write_that_changes_nothing_is_done_at_once(arm, scripted, path, write):
    """200 with Succeeded and no operation header means there is nothing to poll."""
    scripted.on("PUT", path, 200, {"properties": {"provisioningState": "Succeeded"}})
    assert await write(arm, "rg", path.rpartition("/")[2], {}) is None


async def test_a_location_that_answers_with_an_error_tells_of_the_failure(arm, scripted):
    """The operation is over, with the error of its answer."""
    scripted.on("PUT", APP, 201, {"properties": {}}, ASYNC)
    scripted.on(
        "GET",
        STATUS,
        409,
        {"error": {"code": "InternalServerError", "message": "It did not work."}},
    )
    operation = await apps.put_app(arm, "rg", "phi", {})
    progress = await operations.poll(arm, operation.token, APP)
    assert (progress.done, progress.error.reason) == (True, "Azure:InternalServerError")


@pytest.mark.parametrize(
    ("code", "headers", "expected"),
    [
        pytest.param(
            429, {"Retry-After": "1"}, Throttled, id="polling too fast says when to come back"
        ),
        pytest.param(502, {}, TransportFailed, id="a gateway hiccup on the status URL is real"),
        pytest.param(409, {}, Busy, id="in progress elsewhere"),
    ],
)
async def test_a_poll_that_is_refused_says_nothing_of_the_operation(
    arm, scripted, code, headers, expected
):
    """Then poll raises, and the token stays good."""
    scripted.on("PUT", APP, 201, {"properties": {}}, ASYNC)
    body = (
        {"error": {"code": "ContainerAppOperationInProgress", "message": "x"}}
        if code == 409
        else None
    )
    scripted.on("GET", STATUS, code, body, headers)
    scripted.on("GET", STATUS, 200, status("Succeeded"))
    operation = await apps.put_app(arm, "rg", "phi", {})
    with pytest.raises(expected):
        await operations.poll(arm, operation.token, APP)
    assert (await operations.poll(arm, operation.token, APP)).done


async def test_an_operation_that_azure_forgot_is_over(arm, scripted):
    """404 on the status URL: what became of it shows in the resource."""
    scripted.on("PUT", APP, 201, {"properties": {}}, ASYNC)
    operation = await apps.put_app(arm, "rg", "phi", {})
    assert (await operations.poll(arm, operation.token, APP)).done
    assert (await operations.poll(arm, "not a token", APP)).done


async def test_deleting_what_is_gone_is_a_success(arm, scripted):
    """204 from the provider and 404 from the gateway both mean it is not there."""
    scripted.on("DELETE", APP, 204)
    assert await apps.delete_app(arm, "rg", "phi") is None
    assert await storage.delete_storage_account(arm, "gone", "stphi01") is None


async def test_what_has_no_client_of_its_own_is_refused_in_azures_words(arm, scripted):
    """Resource groups and workspaces are written by path, and their errors are read alike."""
    refusal = {"error": {"code": "RequestDisallowedByPolicy", "message": "No tag, no group."}}
    scripted.on("PUT", GROUP, 403, refusal)
    scripted.on("PUT", WORKSPACE, 403, refusal)
    scripted.on("DELETE", WORKSPACE, 409, {"error": {"code": "ScopeLocked", "message": "Locked."}})
    for write in (
        resources.put_resource_group(arm, "rg", {"location": "swedencentral"}),
        resources.put_workspace(arm, "rg", "law", {"location": "swedencentral"}),
    ):
        with pytest.raises(WaitingForHuman, match="No tag, no group"):
            await write
    with pytest.raises(WaitingForHuman, match="Locked"):
        await resources.delete_workspace(arm, "rg", "law")
    assert await resources.delete_resource_group(arm, "rg") is None


async def test_refused_writes_become_the_loops_errors(arm, scripted):
    """409 in progress is Busy, 404 of the group is a reference that is not ready; neither is tried
    again by the SDK.
    """
    scripted.on("PUT", APP, 409, {"code": "ContainerAppLockConflict", "message": "locked"})
    with pytest.raises(Busy):
        await apps.put_app(arm, "rg", "phi", {})
    missing = {
        "error": {
            "code": "ResourceGroupNotFound",
            "message": "Resource group 'rg' could not be found.",
        }
    }
    scripted.on("PUT", ACCOUNT, 404, missing)
    with pytest.raises(NotReadyYet):
        await storage.put_storage_account(arm, "rg", "stphi01", {})
    assert len(scripted.asked) == 2


async def test_actions_and_keys(arm, scripted):
    """Actions are one POST each; Azure answers revision actions with a bare JSON string."""
    scripted.on(
        "POST",
        f"{APP}/revisions/phi--1/restart",
        200,
        '"Restart succeeded"',
        {"Content-Type": "application/json"},
    )
    scripted.on(
        "POST",
        f"{APP}/listSecrets",
        200,
        {"value": [{"name": "key", "value": "s3"}, {"name": "vault"}]},
    )
    scripted.on(
        "POST",
        f"{ACCOUNT}/listKeys",
        200,
        {"keys": [{"keyName": "key1", "value": "a"}, {"keyName": "key2", "value": "b"}]},
    )
    scripted.on(
        "POST", f"{WORKSPACE}/sharedKeys", 200, {"primarySharedKey": "p", "secondarySharedKey": "q"}
    )
    await apps.restart_revision(arm, "rg", "phi", "phi--1")
    assert await apps.list_secrets(arm, "rg", "phi") == {"key": "s3"}
    assert await storage.storage_keys(arm, "rg", "stphi01") == ["a", "b"]
    assert await resources.workspace_shared_key(arm, "rg", "law") == "p"


def made(state):
    return {"id": APP, "name": "phi", "properties": {"provisioningState": state}}


async def create(arm, scripted):
    scripted.on("PUT", APP, 201, made("InProgress"), ASYNC)
    operation = await apps.put_app(arm, "rg", "phi", {})
    arm.inventory.made(APP)
    return operation.token


async def test_a_resource_that_we_create_says_itself_when_it_is_there(arm, scripted):
    """Its answer ends the creation and is a look at it: neither the operation nor the resource is
    asked for again.
    """
    scripted.on("GET", APP, 200, made("InProgress"))
    scripted.on("GET", APP, 200, made("Succeeded"))
    token = await create(arm, scripted)
    polls = [await operations.poll(arm, token, APP, VERSION) for _ in range(2)]
    assert [(each.done, each.error) for each in polls] == [(False, None), (True, None)]
    assert await arm.inventory.look(Kind.APP, GROUP, "phi") == made("Succeeded")
    assert [(method, url.split("?")[0]) for method, url, _ in scripted.asked] == [
        ("PUT", APP),
        ("GET", APP),
        ("GET", APP),
    ]


@pytest.mark.parametrize("found", [(200, made("Failed")), (404, None), (200, {"name": "phi"})])
async def test_the_operation_is_asked_where_the_resource_does_not_say_that_all_is_well(
    arm, scripted, found
):
    """The cause of a failure stands only there."""
    token = await create(arm, scripted)
    scripted.on("GET", APP, *found)
    error = {"code": "ContainerAppImageRequired", "message": "no image"}
    scripted.on("GET", STATUS, 200, status("Failed", error=error))
    progress = await operations.poll(arm, token, APP, VERSION)
    assert progress.done
    assert "no image" in progress.error.message


async def test_after_any_other_write_only_the_operation_counts(arm, scripted):
    """Right after a change a resource may still show its state from before, as it may to a daemon
    that did not create it.
    """
    scripted.on("GET", APP, 200, made("Succeeded"))
    scripted.on("GET", STATUS, 200, status("InProgress"))
    scripted.on("PATCH", APP, 202, None, ASYNC)
    token = await create(arm, scripted)
    arm.inventory.ended(APP)
    later = await apps.patch_app(arm, "rg", "phi", {"tags": {}})
    assert not (await operations.poll(arm, later.token, APP, VERSION)).done
    arm.inventory.invalidate(APP)  # forgets who made it, as a restart does
    assert not (await operations.poll(arm, token, APP, VERSION)).done
    assert [url.split("?")[0] for _, url, _ in scripted.asked[-2:]] == [STATUS, STATUS]
