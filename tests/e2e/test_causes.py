"""Every cause by name: what stops an Environment or a service says why and what to do, and goes on
by itself when the cause is gone.
"""

import pytest

from reconciler.api import versions
from reconciler.arm import ids
from reconciler.cli.app import run
from reconciler.cli.history import history_of
from tests.e2e.inside import inside
from tests.e2e.stage import environment, service

ENVIRONMENTS = "Microsoft.App/managedEnvironments"
APPS = "Microsoft.App/containerApps"
ACCOUNTS = "Microsoft.Storage/storageAccounts"


def refused(code, operation, status=403, **more):
    return {
        "fault": "Error",
        "plane": "arm",
        "method": "PUT",
        "operation": operation,
        "status": status,
        "code": code,
        **more,
    }


CAUSES = {
    "quota": (
        refused("MaxNumberOfRegionalEnvironmentsInSubExceeded", ENVIRONMENTS, 400),
        "Azure:MaxNumberOfRegionalEnvironmentsInSubExceeded",
        "higher quota",
    ),
    "policy": (
        {"fault": "PolicyDenied", "operation": ENVIRONMENTS, "method": "PUT"},
        "Azure:RequestDisallowedByPolicy",
        "change the document or the policy",
    ),
    "missing role": (
        {"fault": "Forbidden", "plane": "arm", "operation": ENVIRONMENTS, "method": "PUT"},
        "Azure:AuthorizationFailed",
        "Give the daemon's identity the role",
    ),
    "region without capacity": (
        {"fault": "NoCapacity", "operation": ENVIRONMENTS},
        "Azure:ManagedEnvironmentNoAvailableCapacityInRegion",
        "no room",
    ),
    "share full": (
        {"fault": "ShareFull"},
        "Azure:ShareSizeLimitReached",
        "raise storage.quotaGiB",
    ),
    "share unreachable": ({"fault": "ShareUnreachable"}, "AzureUnreachable", ""),
    "registry denied": (
        {
            "fault": "OperationFails",
            "operation": APPS,
            "code": "ContainerAppOperationError",
            "message": "Field 'template.containers.web.image' is invalid with details: 'Invalid"
            ' value: "acme.azurecr.io/web:1": GET https://acme.azurecr.io/oauth2/token:'
            " UNAUTHORIZED: authentication required'.",
        },
        "RegistryDenied",
        "the right to pull at the registry",
    ),
    "image not found": (
        {
            "fault": "OperationFails",
            "operation": APPS,
            "code": "ContainerAppOperationError",
            "message": "Field 'template.containers.web.image' is invalid with details: 'Invalid"
            ' value: "acme.azurecr.io/web:1": GET https://acme.azurecr.io/v2/web/manifests/1:'
            ' MANIFEST_UNKNOWN: manifest tagged by "1" is not found\'.',
        },
        "ImageNotFound",
        "Correct the image",
    ),
}


def told(up, name, reason):
    """The first condition of the Environment or the service with that reason."""
    documents = [up.document(name, "Environment"), up.document(f"web-{name}")]
    return next(
        (
            condition
            for document in documents
            for condition in (document or {}).get("conditions", ())
            if condition["reason"] == reason
        ),
        None,
    )


def event(up, reason):
    """The first event with that reason."""
    return next((each for each in up.daemon.store.events() if each.reason == reason), None)


def save(stage, name, **spec):
    stage.code(f"web-{name}")
    stage.save(environment(name, **spec), service(f"web-{name}", environment=name))


async def tells(up, reason, remedy, capsys):
    """An event has the reason and the remedy, and the reason is explained. The event is asked for
    because it stays; a condition may be over before anybody looks.
    """
    found = await up.until(lambda: event(up, reason), f"{reason} is told")
    assert remedy in found.message
    assert run(["explain", reason]) == 0
    assert "what to do: " in capsys.readouterr().out


async def holds(up, name, reason, remedy):
    """A condition of the Environment or the service has the reason and the remedy."""
    condition = await up.until(lambda: told(up, name, reason), f"{reason} is a condition")
    assert condition["status"] != "True" or condition["type"] == "Stalled"
    assert remedy in condition["message"]


async def stands(up, name, reason, remedy, capsys):
    """`tells`, of what lasts until the test ends it: a condition says it too."""
    await holds(up, name, reason, remedy)
    await tells(up, reason, remedy, capsys)


async def test_the_first_look_at_azure_waits_for_what_a_person_can_mend(stage):
    """`moorage up` says why it cannot look yet and goes on when it can; with --once it ends with 4,
    because nobody is waited for.
    """
    save(stage, "first")
    refused = {"fault": "Forbidden", "operation": ENVIRONMENTS, "method": "GET"}
    stage.script(refused)
    assert "AuthorizationFailed" in stage.once(code=4, MOORAGE_OWNER="first").stderr
    with stage.watching(MOORAGE_OWNER="first") as up:
        await up.until(lambda: "Moorage tries again by itself" in up.output, 20, "it is told")
        assert up.output.count("AuthorizationFailed") == 1
        stage.script()
        await up.converged("web-first")


@pytest.mark.parametrize("cause", CAUSES)
async def test_a_cause_is_told_by_its_name_and_heals(stage, cause, capsys):
    """Azure refuses, and the service comes up when the cause is gone."""
    fault, reason, remedy = CAUSES[cause]
    name = cause.replace(" ", "-")[:12].rstrip("-")
    save(stage, name)
    stage.script(fault)
    async with inside(stage, name) as up:
        await stands(up, name, reason, remedy, capsys)
        stage.script()
        await up.converged(f"web-{name}")


async def test_a_revision_that_azure_refused_is_in_the_history(stage):
    """With its cause and what it would have changed; the generation that serves stays the newest
    one to which anybody can go.
    """
    save(stage, "refused")
    async with inside(stage, "refused") as up:
        await up.converged("web-refused")
        stage.script(CAUSES["image not found"][0])
        env = [{"name": "COLOUR", "value": "red"}]
        await up.save(
            environment("refused"), service("web-refused", environment="refused", env=env)
        )
        await holds(up, "refused", "ImageNotFound", "Correct the image")
        found = history_of(up.daemon.store, "web-refused", "local Azure")
        (attempt,) = found.attempts
        assert attempt.revision not in [each.revision for each in found.rows]
        assert 'manifest tagged by "1" is not found' in attempt.problem
        assert any("env" in path for path in attempt.changes)
        assert found.listed[0] == attempt
        stage.script()


async def test_a_provider_is_registered_by_itself(stage, capsys):
    """The subscription lacks a provider: it is registered once, and everything goes on."""
    save(stage, "provider")
    async with inside(stage, "provider") as up:
        provider = f"{ids.subscription(up.daemon.arm.subscription_id)}/providers/Microsoft.App"
        await up.daemon.arm.post_json(f"{provider}/unregister", "2021-04-01")
        await tells(up, "Registering", "Microsoft.App", capsys)
        await up.converged("web-provider")
    asked = [entry for entry in stage.journal() if entry["path"].endswith("/register")]
    assert [(entry["method"], entry["status"]) for entry in asked] == [("POST", 200)]


async def test_an_operation_that_ends_unregistered_is_tried_again(stage, capsys):
    """Azure may take a write and find only at its end that the subscription lacks a provider."""
    save(stage, "late")
    code = "MissingSubscriptionRegistration"
    text = "The subscription is not registered to use namespace 'Microsoft.App'."
    fault = {"fault": "OperationFails", "operation": ENVIRONMENTS, "code": code, "message": text}
    stage.script({**fault, "times": 1})
    async with inside(stage, "late") as up:
        await tells(up, "Registering", "Microsoft.App", capsys)
        await up.converged("web-late")


async def test_a_lock_is_told_and_waited_for(stage, capsys):
    """A lock on the group holds up a change, and the service goes on serving."""
    save(stage, "lock")
    async with inside(stage, "lock") as up:
        await up.converged("web-lock")
        arm, group = up.daemon.arm, up.daemon.composition.names["lock"].resource_group
        lock = f"{ids.resource_group(arm.subscription_id, group)}/providers/Microsoft.Authorization"
        lock += "/locks/still"
        await arm._send("PUT", lock, "2020-05-01", {"properties": {"level": "ReadOnly"}})
        await up.save(environment("lock", tags={"a": "b"}), service("web-lock", environment="lock"))
        await stands(up, "lock", "Azure:ScopeLocked", "Remove the lock", capsys)
        assert up.condition("web-lock", "Ready")["status"] == "True"
        await arm._send("DELETE", lock, "2020-05-01")
        await up.converged("web-lock")


async def test_a_name_that_becomes_free_needs_no_edit(stage, capsys):
    """Another group has the storage account; once it is deleted there, the service comes up."""
    save(stage, "mine", storage={"accountName": "stfreed01"})
    async with inside(stage, "mine") as up:
        arm = up.daemon.arm
        other = ids.resource_group(arm.subscription_id, "rg-elsewhere")
        await arm._send("PUT", other, "2021-04-01", {"location": "swedencentral"})
        account = ids.storage_account(arm.subscription_id, "rg-elsewhere", "stfreed01")
        body = {"location": "swedencentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}
        await arm._send("PUT", account, "2025-06-01", body)
        await stands(up, "mine", "Azure:StorageAccountAlreadyTaken", "choose another", capsys)
        await arm._send("DELETE", account, "2025-06-01")
        await up.converged("web-mine")


async def test_a_name_that_is_taken_is_told(stage, capsys):
    """Another group has the storage account: the document must name another, and then all is
    well.
    """
    save(stage, "owner", storage={"accountName": "sttaken01"})
    async with inside(stage, "owner") as up:
        await up.converged("web-owner")
    save(stage, "taken", storage={"accountName": "sttaken01"})
    async with inside(stage, "taken") as up:
        await stands(up, "taken", "Azure:StorageAccountAlreadyTaken", "choose another", capsys)
        save(stage, "taken", storage={"accountName": "sttaken02"})
        await up.converged("web-taken")


async def test_a_failed_environment_is_told_and_written_again(stage, capsys):
    """Azure calls the managed environment Failed; a write brings it back."""
    save(stage, "failed")
    async with inside(stage, "failed") as up:
        await up.converged("web-failed")
        stage.script({"fault": "EnvironmentFails", "operation": ENVIRONMENTS, "times": 1})
        arm, names = up.daemon.arm, up.daemon.composition.names["failed"]
        place = (arm.subscription_id, names.resource_group, names.managed_environment)
        await arm.get_json(ids.environment(*place), versions.APP)
        await tells(up, "EnvironmentFailed", "failed", capsys)
        stage.script()
        await up.until(lambda: told(up, "failed", "EnvironmentFailed") is None, "it is well again")
        assert "EnvironmentFailed" in up.events()
        assert "DriftFound" not in up.events()
        await up.converged("web-failed")


async def test_a_share_without_shared_keys_is_told(stage, capsys):
    """Somebody forbids shared keys on the account, which Azure Files mounts need, and a policy
    keeps the daemon from allowing them again.
    """
    save(stage, "keys")
    async with inside(stage, "keys") as up:
        await up.converged("web-keys")
        arm, names = up.daemon.arm, up.daemon.composition.names["keys"]
        scope = ids.storage_account(arm.subscription_id, names.resource_group, names.account)
        forbidden = {"properties": {"allowSharedKeyAccess": False}}
        await arm._send("PATCH", scope, "2025-06-01", forbidden)
        stage.script({"fault": "PolicyDenied", "operation": ACCOUNTS})
        stage.code("web-keys", "two")
        reason = "Azure:KeyBasedAuthenticationNotPermitted"
        await stands(up, "keys", reason, "allow shared key access", capsys)
        stage.script()
        await up.converged("web-keys")


async def test_a_rotated_key_is_told_and_the_share_registered_anew(stage, capsys):
    """The event says so, and the service moves to the new registration by itself."""
    save(stage, "rotated")
    async with inside(stage, "rotated") as up:
        await up.converged("web-rotated")
        account = up.daemon.composition.names["rotated"].account
        group = up.daemon.composition.names["rotated"].resource_group
        arm = up.daemon.arm
        scope = ids.storage_account(arm.subscription_id, group, account)
        await arm.post_json(f"{scope}/regenerateKey", "2025-06-01", {"keyName": "key1"})
        await up.until(lambda: "StorageKeyRotated" in up.events(), "the rotation is told")
        await up.converged("web-rotated")


async def test_a_quota_without_gpus_is_told(stage, capsys):
    """No replica is ever placed: the revision fails with the quota and what is left of it, and
    comes up by itself once there is one.
    """
    gpu = {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC8as-T4"}
    stage.code("web-gpu")
    stage.save(
        environment("gpu", workloadProfiles=[gpu]),
        service("web-gpu", environment="gpu", workloadProfileName="gpu",
                progressDeadlineSeconds=10),
    )  # fmt: skip
    stage.script({"fault": "NoGpuQuota"})
    async with inside(stage, "gpu") as up:
        await stands(up, "gpu", "ReplicasMissing", "0 of 0, 0 left", capsys)
        stage.script()
        await up.converged("web-gpu")
