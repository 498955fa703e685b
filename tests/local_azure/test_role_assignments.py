"""Role assignments, and the Key Vaults that roles open, asked with plain HTTPS requests."""

import json
import uuid
from base64 import urlsafe_b64decode

import pytest

from tests.local_azure.caller import caller, token_for  # noqa: F401 - fixture

VERSION = "2022-04-01"
USER, OFFICER, ADMINISTRATOR, READER, OWNER = (
    "Key Vault Secrets User",
    "Key Vault Secrets Officer",
    "Key Vault Administrator",
    "Key Vault Reader",
    "Owner",
)
OPERATIONS = {
    "set": ("PUT", "/secrets/db", {"value": "v"}),
    "get": ("GET", "/secrets/db", None),
    "list": ("GET", "/secrets", None),
    "delete": ("DELETE", "/secrets/db", None),
}


class Vault:
    """A vault that roles open, and its requests as the one client."""

    def __init__(self, caller, http, azure, bearer):
        self.caller, self._http, self._azure, self._bearer = caller, http, azure, bearer
        self.name = f"kv-{uuid.uuid4().hex[:12]}"
        self.id = f"{caller.group}/providers/Microsoft.KeyVault/vaults/{self.name}"
        claims = bearer.split(".")[1]
        self.me = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["oid"]

    async def make(self, **properties):
        body = {
            "tenantId": self._azure.facts["tenantId"],
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": True,
            **properties,
        }
        document = {"location": "swedencentral", "properties": body}
        status, _, _ = await self.caller.ask("PUT", self.id, document, "2023-07-01")
        assert status in {200, 201}

    async def ask(self, method, path, body=None):
        headers = {
            "Host": f"{self.name}.vault.azure.net",
            "Authorization": f"Bearer {self._bearer}",
        }
        url = f"{path}?api-version=7.4"
        async with self._http.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def may(self):
        """What the client may do."""
        found = {name: await self.ask(*request) for name, request in OPERATIONS.items()}
        assert {status for status, _ in found.values()} <= {200, 403, 404}
        return {name for name, (status, _) in found.items() if status != 403}

    async def assign(self, role, principal="", scope="", **more):
        """One assignment; gives its path and the answer."""
        where = scope or self.id
        path = f"{where}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        properties = {
            "roleDefinitionId": await self.role(role),
            "principalId": principal or self.me,
            **more,
        }
        return path, await self.caller.ask("PUT", path, {"properties": properties}, VERSION)

    async def role(self, name):
        """The id of a role, found as az finds it."""
        found = f"{self.id}/providers/Microsoft.Authorization/roleDefinitions"
        query = f"?api-version={VERSION}&$filter=roleName eq '{name}'"
        _, _, answer = await self.caller.ask("GET", found + query)
        (one,) = answer["value"]
        assert one["properties"]["roleName"] == name
        return one["id"]


@pytest.fixture
async def vault(caller, http, azure):
    bearer = await token_for(http, azure, "https://vault.azure.net")
    made = Vault(caller, http, azure, bearer)
    await made.make()
    return made


async def test_an_owner_has_no_access_to_data(vault):
    """Neither have the access policies of a vault that roles open: 403 in Key Vault's words, which
    name the action and the resource.
    """
    policy = {"objectId": vault.me, "permissions": {"secrets": ["all"]}}
    await vault.make(accessPolicies=[policy])
    status, body = await vault.ask("GET", "/secrets/db")
    assert (status, body["error"]["code"]) == (403, "Forbidden")
    assert body["error"]["innererror"]["code"] == "ForbiddenByRbac"
    assert (
        "Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'" in body["error"]["message"]
    )
    assert f"{vault.id.lower()}/secrets/db" in body["error"]["message"]


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (USER, {"get", "list"}),
        (OFFICER, set(OPERATIONS)),
        (ADMINISTRATOR, set(OPERATIONS)),
        (READER, {"list"}),
        (OWNER, set()),
        ("Contributor", set()),
    ],
)
async def test_a_role_opens_what_it_holds(vault, role, may):
    """Each built-in role permits its own operations, from the next request on, until the assignment
    is deleted.
    """
    path, (status, _, shown) = await vault.assign(role)
    assert (status, shown["properties"]["scope"]) == (201, vault.id)
    assert await vault.may() == may
    assert (await vault.caller.ask("DELETE", path, None, VERSION))[0] == 200
    assert (await vault.caller.ask("DELETE", path, None, VERSION))[0] == 204
    assert await vault.may() == set()


async def test_a_role_holds_for_everything_below_its_scope(vault):
    """At the group it opens the vault, at a secret that secret alone."""
    _, (status, _, _) = await vault.assign(OFFICER, scope=vault.caller.group)
    assert status == 201
    for name in ("db", "other"):
        assert (await vault.ask("PUT", f"/secrets/{name}", {"value": "v"}))[0] == 200
    scope = vault.caller.group
    _, _, listed = await vault.caller.ask(
        "GET", f"{scope}/providers/Microsoft.Authorization/roleAssignments", None, VERSION
    )
    (officer,) = listed["value"]
    await vault.caller.ask("DELETE", officer["id"], None, VERSION)
    _, (status, _, _) = await vault.assign(USER, scope=f"{vault.id}/secrets/db")
    assert status == 201
    assert (await vault.ask("GET", "/secrets/db"))[0] == 200
    assert (await vault.ask("GET", "/secrets/other"))[0] == 403
    assert (await vault.ask("GET", "/secrets"))[0] == 403


async def test_an_app_reads_a_secret_by_a_role(vault):
    """The identity that a secret names needs the role; without it the write is refused."""
    await vault.assign(OFFICER)
    await vault.ask("PUT", "/secrets/db", {"value": "v"})
    caller = vault.caller
    _, _, made = await caller.ask("PUT", caller.nobody, {"location": "eastus"}, "2023-01-31")
    url = f"https://{vault.name}.vault.azure.net/secrets/db"
    secret = {"name": "db", "keyVaultUrl": url, "identity": caller.nobody}
    document = caller.app(configuration={"secrets": [secret]})
    users = {"type": "UserAssigned", "userAssignedIdentities": {caller.nobody: {}}}
    document["identity"] = users
    status, _, refused = await caller.put("containerApps", "phi", document)
    assert (status, refused["error"]["code"]) == (400, "InvalidParameterValueInContainerTemplate")
    assert "Unable to get value using Managed identity" in refused["error"]["message"]
    await vault.assign(USER, principal=made["properties"]["principalId"])
    assert (await caller.put("containerApps", "phi", document))[0] == 201


@pytest.mark.parametrize(
    ("principal", "role", "expected"),
    [
        ("not-a-guid", USER, (400, "InvalidPrincipalId")),
        ("9f0c7e52-0d7b-4f0e-8a3d-5f2f3c1b7a10", USER, (400, "PrincipalNotFound")),
        ("", "", (404, "RoleDefinitionDoesNotExist")),
    ],
)
async def test_what_cannot_be_assigned_is_refused(vault, principal, role, expected):
    """With Azure's codes; with its type given, a principal is not looked for."""
    name = uuid.uuid4()
    path = f"{vault.id}/providers/Microsoft.Authorization/roleAssignments/{name}"
    asked = {
        "roleDefinitionId": await vault.role(role) if role else f"{vault.id}/{uuid.uuid4()}",
        "principalId": principal or vault.me,
    }
    status, _, answer = await vault.caller.ask("PUT", path, {"properties": asked}, VERSION)
    assert (status, answer["error"]["code"]) == expected
    if expected[1] == "PrincipalNotFound":
        asked["principalType"] = "ServicePrincipal"
        assert (await vault.caller.ask("PUT", path, {"properties": asked}, VERSION))[0] == 201


async def test_an_assignment_never_changes(vault):
    """The same again is no error, a second one for the same is a conflict, and so is a change."""
    path, (_, _, made) = await vault.assign(USER)
    properties = {key: made["properties"][key] for key in ("roleDefinitionId", "principalId")}
    again = await vault.caller.ask("PUT", path, {"properties": properties}, VERSION)
    assert (again[0], again[2]["id"]) == (200, made["id"])
    _, (status, _, second) = await vault.assign(USER)
    assert (status, second["error"]["code"]) == (409, "RoleAssignmentExists")
    changed = {"properties": {**properties, "roleDefinitionId": await vault.role(READER)}}
    status, _, answer = await vault.caller.ask("PUT", path, changed, VERSION)
    assert (status, answer["error"]["code"]) == (409, "RoleAssignmentUpdateNotPermitted")
    named = path.rpartition("/")[0] + "/name"
    status, _, answer = await vault.caller.ask("PUT", named, changed, VERSION)
    assert (status, answer["error"]["code"]) == (400, "InvalidRoleAssignmentId")
    shown = (await vault.caller.ask("GET", path, None, VERSION))[2]
    assert shown == made


async def test_assignments_are_listed_by_scope_and_principal(vault):
    """Those at the scope, above and below; `atScope()` leaves out what is below."""
    await vault.assign(USER)
    other = str(uuid.uuid4())
    await vault.assign(READER, principal=other, principalType="User")
    below = f"{vault.caller.group}/providers/Microsoft.Authorization/roleAssignments"

    async def found(path, text=""):
        query = f"?api-version={VERSION}" + (f"&$filter={text}" if text else "")
        status, _, answer = await vault.caller.ask("GET", path + query)
        assert status == 200, answer
        return [each["properties"]["principalId"] for each in answer["value"]]

    assert await found(below) == [vault.me, other]
    assert await found(below, "atScope()") == []
    assert await found(below, f"principalId eq '{other}'") == [other]
    at = f"{vault.id}/providers/Microsoft.Authorization/roleAssignments"
    assert await found(at, f"atScope() and assignedTo('{vault.me}')") == [vault.me]
    status, _, answer = await vault.caller.ask("GET", f"{at}?api-version={VERSION}&$filter=x")
    assert (status, answer["error"]["code"]) == (400, "UnsupportedFilter")
