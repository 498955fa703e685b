"""Each check of `moorage doctor` fails for its cause, and says what comes of it, what to do and the
command.
"""

from types import SimpleNamespace

import pytest

from reconciler.api.manifest import load
from reconciler.api.reasons import Reason
from reconciler.cli.check_result import Grade
from reconciler.cli.checkup import _after_refusal, check_all
from reconciler.engine.errors import WaitingForHuman
from tests.arm.conftest import SUBSCRIPTION, TENANT

SUB = f"/subscriptions/{SUBSCRIPTION}"
APP = f"{SUB}/providers/Microsoft.App"
ACCOUNT = f"{SUB}/resourceGroups/rg-x/providers/Microsoft.Storage/storageAccounts/stx"
SHARE = f"{ACCOUNT}/fileServices/default/shares/models"
USAGES = f"{APP}/locations/swedencentral/usages"
NAMES = f"{SUB}/providers/Microsoft.Storage/checkNameAvailability"
PERMISSIONS = f"{SUB}/providers/Microsoft.Authorization/permissions"
REGIONS = {
    "registrationState": "Registered",
    "resourceTypes": [{"resourceType": "managedEnvironments", "locations": ["Sweden Central"]}],
}
ALL = {"value": [{"actions": ["*"], "notActions": []}]}
OPEN = {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": {}}
DOCUMENTS = """\
apiVersion: moorage.dev/v1alpha1
kind: Environment
metadata: {name: default}
spec:
  location: swedencentral
  resourceGroup: rg-x
  storage: {accountName: stx, shareName: models}
---
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {name: phi}
spec: {model: {source: share://models/phi}}
"""


def usage(limit):
    name = {"value": "SubscriptionConsumptionNCA100Gpus"}
    return {"value": [{"name": name, "currentValue": 0, "limit": limit}]}


WELL = {
    ("GET", SUB): (200, {"displayName": "Mine", "state": "Enabled"}),
    ("GET", PERMISSIONS): (200, ALL),
    ("GET", APP): (200, REGIONS),
    ("GET", f"{SUB}/providers/Microsoft.Storage"): (200, {"registrationState": "Registered"}),
    ("GET", f"{SUB}/providers/Microsoft.OperationalInsights"): (
        200,
        {"registrationState": "Registered"},
    ),
    ("GET", ACCOUNT): (404, {"error": {"code": "ResourceNotFound", "message": "no"}}),
    ("POST", NAMES): (200, {"nameAvailable": True}),
    ("GET", USAGES): (200, usage(2)),
}


def refusal(code):
    return {"error": {"code": code, "message": "Azure says no."}}


def share(**properties):
    return {("GET", ACCOUNT): (200, OPEN), ("GET", SHARE): (200, {"properties": properties})}


def account(**changes):
    return {("GET", ACCOUNT): (200, {**OPEN, **changes}), ("GET", SHARE): (404, refusal("x"))}


UNREGISTERED = {("GET", APP): (200, {**REGIONS, "registrationState": "NotRegistered"})}
CASES = {
    "no role at all": (
        {("GET", SUB): (403, refusal("AuthorizationFailed"))},
        "credential",
        'az role assignment create --role "Moorage Operator" --assignee daemon',
    ),
    "another subscription": (
        {("GET", SUB): (404, refusal("SubscriptionNotFound"))},
        "credential",
        "az account list --all",
    ),
    "a disabled subscription": (
        {("GET", SUB): (200, {"displayName": "Mine", "state": "Disabled"})},
        "credential",
        "/providers/Microsoft.Subscription/enable",
    ),
    "a role that lacks an action": (
        {("GET", PERMISSIONS): (200, {"value": [{"actions": ["*/read"]}]})},
        "role",
        "az role assignment create",
    ),
    "nobody may register": (
        {
            **UNREGISTERED,
            ("GET", PERMISSIONS): (
                200,
                {"value": [{"actions": ["*"], "notActions": ["*/register/action"]}]},
            ),
        },
        "provider",
        "az provider register --namespace Microsoft.App",
    ),
    "no such region": (
        {("GET", APP): (200, {**REGIONS, "resourceTypes": []})},
        "region",
        "az provider show --namespace Microsoft.App",
    ),
    "a taken name": (
        {("POST", NAMES): (200, {"nameAvailable": False, "message": "It is taken."})},
        "names",
        "az storage account check-name --name stx",
    ),
    "blobs alone": (account(kind="BlobStorage"), "storage", "az storage account show --name stx"),
    "no shared keys": (
        account(properties={"allowSharedKeyAccess": False}),
        "storage",
        "--allow-shared-key-access true",
    ),
    "a share of NFS": (share(enabledProtocols="NFS"), "share", "az storage share-rm show"),
    "a cool share": (share(accessTier="Cool"), "share", "--access-tier TransactionOptimized"),
    "no GPU": ({("GET", USAGES): (200, usage(0))}, "quota", f"{USAGES}?api-version="),
}


async def found(arm, scripted, tmp_path, changes):
    for (method, path), (status, body) in {**WELL, **changes}.items():
        scripted.on(method, path, status, body)
    (tmp_path / "m.yaml").write_text(DOCUMENTS)
    documents = load([tmp_path / "m.yaml"]).documents
    return [each async for each in check_all(arm, documents)]


async def test_nothing_is_found_where_all_is_well(arm, scripted, tmp_path):
    """Every check has an answer, and none asks for anything."""
    results = await found(arm, scripted, tmp_path, {})
    assert {each.grade for each in results} == {Grade.OK}
    assert not any(each.effect or each.remedy or each.command for each in results)
    names = [each.check for each in results]
    assert list(dict.fromkeys(names)) == [
        "credential",
        "role",
        "provider",
        "region",
        "names",
        "quota",
    ]


async def test_a_provider_that_the_daemon_may_register_stands_in_nobodys_way(
    arm, scripted, tmp_path
):
    """It registers it by itself."""
    results = await found(arm, scripted, tmp_path, UNREGISTERED)
    assert {each.grade for each in results} == {Grade.OK}
    assert "the first write registers it" in " ".join(each.message for each in results)


@pytest.mark.parametrize(("changes", "check", "command"), CASES.values(), ids=CASES)
async def test_each_check_fails_with_effect_remedy_and_command(
    arm, scripted, tmp_path, changes, check, command
):
    """One cause, one check that tells it; a person copies the command as it stands."""
    results = await found(arm, scripted, tmp_path, changes)
    bad = [each for each in results if each.grade is not Grade.OK and each.effect]
    assert [each.check for each in bad] == [check]
    assert all((each.effect, each.remedy, each.command) for each in bad)
    assert command in bad[0].command


async def test_azure_that_is_busy_is_no_matter_of_the_credential(arm, scripted, tmp_path):
    """Nobody has to sign in again."""
    busy = {("GET", SUB): (503, refusal("ServiceUnavailable"))}
    (only,) = await found(arm, scripted, tmp_path, busy)
    assert (only.grade, only.command) == (Grade.FAILED, "")
    assert only.remedy == "wait a little, and run `moorage doctor` again"


@pytest.mark.parametrize(
    ("credential", "command"),
    [
        ("service-principal", "az ad app credential list --id daemon -o table"),
        ("azure-cli", f"az login --tenant {TENANT}"),
        ("managed-identity", ""),
    ],
)
def test_a_refused_sign_in_names_the_command_of_its_credential(scripted, credential, command):
    """The command that shows or renews what the settings name."""
    arm = SimpleNamespace(settings=scripted.settings(credential=credential))
    remedy, told = _after_refusal(arm, WaitingForHuman(Reason.SIGN_IN_FAILED, "no"))
    assert told == command
    assert remedy
