"""The role of the one caller: which action a request is, and what a role definition grants."""

import json

import pytest

from infra.local_azure.arm import ids
from infra.local_azure.arm.call import Call
from infra.local_azure.arm.errors import ArmError
from infra.local_azure.arm.roles import RoleError, Roles, action_of, read

SUB = "/subscriptions/00000000-0000-0000-0000-000000000000"
APP = f"{SUB}/resourceGroups/rg/providers/Microsoft.App/containerApps/web"
HOME = f"{SUB}/resourceGroups/rg/providers/Microsoft.App/managedEnvironments/cae"

ACTIONS = [
    ("GET", SUB, "Microsoft.Resources/subscriptions/read"),
    ("GET", f"{SUB}/resourceGroups", "Microsoft.Resources/subscriptions/resourceGroups/read"),
    ("PUT", f"{SUB}/resourceGroups/rg", "Microsoft.Resources/subscriptions/resourceGroups/write"),
    (
        "GET",
        f"{SUB}/resourceGroups/rg/resources",
        "Microsoft.Resources/subscriptions/resourceGroups/resources/read",
    ),
    ("GET", f"{SUB}/operationresults/x", "Microsoft.Resources/subscriptions/operationresults/read"),
    ("GET", f"{SUB}/providers/Microsoft.App", "Microsoft.Resources/subscriptions/providers/read"),
    ("POST", f"{SUB}/providers/Microsoft.App/register", "Microsoft.App/register/action"),
    ("GET", f"{SUB}/providers/Microsoft.App/containerApps", "Microsoft.App/containerApps/read"),
    ("PATCH", APP, "Microsoft.App/containerApps/write"),
    ("DELETE", APP, "Microsoft.App/containerApps/delete"),
    ("POST", f"{APP}/listSecrets", "Microsoft.App/containerApps/listSecrets/action"),
    (
        "POST",
        f"{APP}/revisions/web--1/activate",
        "Microsoft.App/containerApps/revisions/activate/action",
    ),
    (
        "GET",
        f"{SUB}/providers/Microsoft.App/locations/westus/containerappOperationStatuses/1",
        "Microsoft.App/locations/containerappOperationStatuses/read",
    ),
    (
        "POST",
        f"{SUB}/providers/Microsoft.Storage/checkNameAvailability",
        "Microsoft.Storage/checkNameAvailability/read",
    ),
    (
        "GET",
        f"{SUB}/providers/Microsoft.Insights/eventtypes/management/values",
        "Microsoft.Insights/eventtypes/values/read",
    ),
]


@pytest.fixture
def role(tmp_path):
    file = tmp_path / "role.json"

    def write(*actions, **more):
        file.write_text(json.dumps({"Actions": actions, **more}))
        return Roles(file)

    return write


def refused(check):
    with pytest.raises(ArmError) as caught:
        check()
    assert caught.value.status == 403
    return caught.value


@pytest.mark.parametrize(("method", "path", "action"), ACTIONS, ids=[each[2] for each in ACTIONS])
def test_a_request_is_one_action(method, path, action, role):
    """Granted by its name in any letters, and refused by the same name without it."""
    target = ids.parse(path)
    assert action_of(method, target).lower() == action.lower()
    role(action.upper()).check(method, target, "c", "p")
    error = refused(lambda: role("Microsoft.Other/*").check(method, target, "c", "p"))
    assert error.code == "AuthorizationFailed"
    assert action.lower() in error.message.lower()


def test_what_is_taken_away_is_not_granted(role):
    """NotActions count, the file is read again when it changes, and nobody needs a role to ask where
    this Azure is.
    """
    target = ids.parse(APP)
    roles = role("*", NotActions=["Microsoft.App/*/write"])
    roles.check("GET", target, "c", "p")
    refused(lambda: roles.check("PUT", target, "c", "p"))
    roles.check("PUT", target, "c", "")
    role("*")
    roles.check("PUT", target, "c", "p")
    Roles().check("PUT", target, "c", "p")


@pytest.mark.parametrize(
    ("sent", "action"),
    [
        (
            {"properties": {"environmentId": HOME}},
            "Microsoft.App/managedEnvironments/join/action",
        ),
        (
            {"identity": {"userAssignedIdentities": {f"{SUB}/me": {}}}},
            "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
        ),
    ],
)
def test_what_a_write_names_needs_an_action_too(sent, action, role):
    """The environment of an app, and its identities."""
    call = Call("PUT", ids.parse(APP), {}, "2025-01-01", sent, "")
    error = refused(lambda: role("Microsoft.App/containerApps/*").check_links(call, "c"))
    assert error.code == "LinkedAuthorizationFailed"
    assert action in error.message
    role(action).check_links(call, "c")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Actions": 1}'])
def test_a_file_that_is_no_role_is_refused(text, tmp_path):
    """With one sentence that names the file."""
    file = tmp_path / "role.json"
    file.write_text(text)
    with pytest.raises(RoleError, match=r"role\.json is no role definition"):
        read(file)
