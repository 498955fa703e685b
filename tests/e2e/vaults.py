"""A Key Vault as somebody else makes it: through Resource Manager, and at its own address."""

import json
import ssl
from base64 import urlsafe_b64decode

import aiohttp
from azure.core.rest import HttpRequest

from tests.login import login_form

VERSIONS = {"Microsoft.KeyVault": "2023-07-01", "Microsoft.ManagedIdentity": "2023-01-31"}


async def put(azure, group, kind, name, body):
    """A resource, as Resource Manager shows it."""
    scope = f"{azure.endpoint}/subscriptions/{azure.subscription}/resourceGroups/{group}"
    version = {"api-version": VERSIONS[kind.split("/")[0]]}
    url = f"{scope}/providers/{kind}/{name}"
    sent = {"location": "westus3", **body}
    answer = await azure.apps.send_request(HttpRequest("PUT", url, params=version, json=sent))
    answer.raise_for_status()
    return answer.json()


async def make_vault(azure, facts, group, name, *readers):
    """The vault, in which the client of `facts` may do everything and `readers` may read."""
    claims = (await token(facts)).split(".")[1]
    me = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["oid"]
    policies = [
        {"tenantId": facts["tenantId"], "objectId": who, "permissions": {"secrets": [what]}}
        for who, what in ((me, "all"), *((reader, "Get") for reader in readers))
    ]
    properties = {
        "tenantId": facts["tenantId"],
        "sku": {"family": "A", "name": "standard"},
        "accessPolicies": policies,
    }
    return await put(azure, group, "Microsoft.KeyVault/vaults", name, {"properties": properties})


async def token(facts):
    """A token for the data plane."""
    form = login_form(facts, "https://vault.azure.net")
    _, found, _ = await ask(facts, "POST", f"/{facts['tenantId']}/oauth2/v2.0/token", data=form)
    return found["access_token"]


async def set_secret(facts, vault, name, value):
    """A new version of the secret."""
    bearer = await token(facts)
    path = f"/secrets/{name}?api-version=7.4"
    status, _, _ = await ask(facts, "PUT", path, vault=vault, bearer=bearer, json={"value": value})
    assert status == 200


async def ask(facts, method, path, *, vault="", bearer="", **body):
    """Status, body and headers of a request to the vault's own address, or to the login's."""
    headers = {"Host": f"{vault}.vault.azure.net"} if vault else {}
    headers |= {"Authorization": f"Bearer {bearer}"} if bearer else {}
    context = ssl.create_default_context(cafile=facts["caFile"])
    url = facts["armEndpoint"].rstrip("/") + path
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, headers=headers, ssl=context, **body) as answer,
    ):
        return answer.status, await answer.json(), answer.headers
