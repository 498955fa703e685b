"""A document with a secret of a Key Vault, from the vault to the variable of the replica."""

import ssl

import aiohttp
import pytest

from tests.e2e.outside import outside
from tests.e2e.stage import Stage, service
from tests.e2e.vaults import ask, make_vault, put, set_secret, token

pytestmark = pytest.mark.e2e
GROUP, VAULT, VALUE = "rg-vault", "kv-phi", "green-of-the-vault"
DB = "/secrets/db?api-version=7.4"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("vault"))
    stage.start_azure()
    stage.code("web")
    yield stage
    stage.close()


@pytest.fixture(scope="module")
async def reader(stage):
    """An identity that may read the vault's one secret."""
    async with outside(stage) as azure:
        await azure.resources.resource_groups.create_or_update(GROUP, {"location": "westus3"})
        kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
        found = await put(azure, GROUP, kind, "me", {})
        principal = found["properties"]["principalId"]
        vault = await make_vault(azure, stage.facts, GROUP, VAULT, principal)
        assert vault["properties"]["vaultUri"].startswith(f"https://{VAULT}.vault.localhost:")
        await set_secret(stage.facts, VAULT, "db", VALUE)
    return found["id"]


def web(user, **more):
    """A service whose variable COLOUR is a secret of the vault."""
    url = f"https://{VAULT}.vault.azure.net/secrets/db"
    return service(
        "web",
        identity={"type": "UserAssigned", "userAssignedIdentities": {user: {}}},
        secrets=[{"name": "db", "keyVaultUrl": url, "identity": user}],
        env=[{"name": "COLOUR", "valueFrom": {"secretRef": "db"}}],
        **more,
    )


async def test_a_vault_opens_to_who_has_a_token_and_a_policy(stage, reader):
    """With a challenge for who has no token, and Key Vault's own words for what is not there."""
    facts = stage.facts
    status, body, headers = await ask(facts, "GET", DB, vault=VAULT)
    assert (status, body["error"]["code"]) == (401, "Unauthorized")
    assert 'resource="https://vault.azure.net"' in headers["WWW-Authenticate"]
    bearer = await token(facts)
    status, body, _ = await ask(facts, "GET", DB, vault=VAULT, bearer=bearer)
    assert (status, body["value"]) == (200, VALUE)
    assert body["id"].startswith(f"https://{VAULT}.vault.azure.net/secrets/db/")
    other = DB.replace("db", "no")
    status, body, _ = await ask(facts, "GET", other, vault=VAULT, bearer=bearer)
    assert (status, body["error"]["code"]) == (404, "SecretNotFound")
    status, body, _ = await ask(facts, "GET", DB, vault="kv-none", bearer=bearer)
    assert status == 404
    status, body, _ = await ask(facts, "GET", "/secrets", vault=VAULT, bearer=bearer)
    assert (status, len(body["value"]), "value" in body["value"][0]) == (200, 1, False)


async def test_a_secret_of_a_vault_reaches_the_replica(stage, reader):
    """Read by the identity that the document names, with the value nowhere on this side; and refused
    in Azure's words when that identity may not.
    """
    stage.save(web(reader))
    told = stage.once()
    (address,) = [line.split()[-1] for line in told.stdout.splitlines() if "  endpoint  " in line]
    context = ssl.create_default_context(cafile=stage.ca)
    async with aiohttp.ClientSession() as http, http.get(address, ssl=context) as answer:
        assert (await answer.json(content_type=None))["colour"] == VALUE
    kept = [p for p in (stage.state / "daemon").rglob("*") if p.is_file()]
    assert VALUE not in told.stdout + told.stderr
    assert not any(VALUE.encode() in path.read_bytes() for path in kept)

    async with outside(stage) as azure:
        await make_vault(azure, stage.facts, GROUP, VAULT)  # nobody else may read it
    stage.save(web(reader, targetPort=9001))
    refused = stage.once("--timeout", "20", code=None)
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "Unable to get value using Managed identity" in said
    assert "VaultDenied" in said
