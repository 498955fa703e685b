"""Login and the ARM front: tokens, api-versions, unknown things, headers."""

import asyncio

import aiohttp
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential as BlockingCredential
from azure.identity.aio import ClientSecretCredential

from tests.login import login_form


def token_form(azure, **changes):
    facts = azure.facts
    form = login_form(facts, azure.endpoint)
    return {**form, **changes}


async def ask(azure, http, **changes):
    async with http.post(
        f"/{azure.facts['tenantId']}/oauth2/v2.0/token", data=token_form(azure, **changes)
    ) as answer:
        return answer.status, await answer.json()


async def test_the_wrong_secret_logs_nobody_in(azure):
    """The client secret is checked, and the SDK reports Entra's own code."""
    facts = azure.facts
    async with ClientSecretCredential(
        facts["tenantId"], facts["clientId"], "wrong",
        authority=facts["authority"], disable_instance_discovery=True, connection_verify=facts["caFile"],
    ) as credential:  # fmt: skip
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            await credential.get_token(f"{azure.endpoint}/.default")


def test_msal_logs_in_too(azure):
    """The blocking credential, which goes through MSAL and its instance discovery routes, gets a
    token.
    """
    facts = azure.facts
    with BlockingCredential(
        facts["tenantId"], facts["clientId"], facts["clientSecret"],
        authority=facts["authority"], disable_instance_discovery=True, connection_verify=facts["caFile"],
    ) as credential:  # fmt: skip
        assert credential.get_token(f"{azure.endpoint}/.default").token


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_id": "someone"}, 400, "unauthorized_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": ""}, 400, "invalid_request"),
    ],
)
async def test_a_token_request_must_be_whole(azure, http, changes, status, error):
    """Another client, another grant or no scope is refused."""
    got, body = await ask(azure, http, **changes)
    assert (got, body["error"]) == (status, error)


async def test_another_tenant_does_not_exist(http):
    """There is one tenant; instance discovery and its metadata name it."""
    async with http.get(
        "/00000000-0000-0000-0000-000000000001/v2.0/.well-known/openid-configuration"
    ) as answer:
        assert answer.status == 400
        assert "AADSTS90002" in (await answer.json())["error_description"]


async def arm(azure, http, path="", **headers):
    async with http.get(
        f"{azure.subscription}{path}", params={"api-version": "2022-12-01"}, headers=headers
    ) as answer:
        return answer.status, (await answer.json()).get("error", {}).get("code"), answer.headers


async def test_arm_wants_a_token_of_its_own(azure, http):
    """No token, a foreign one and one for another audience are three different 401s, each telling
    where to log in.
    """
    status, code, headers = await arm(azure, http)
    assert (status, code) == (401, "AuthenticationFailed")
    assert azure.facts["tenantId"] in headers["WWW-Authenticate"]
    assert (await arm(azure, http, Authorization="Bearer a.b.c"))[:2] == (
        401,
        "InvalidAuthenticationToken",
    )
    _, body = await ask(azure, http, scope="https://vault.azure.net/.default")
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    assert (await arm(azure, http, **bearer))[:2] == (401, "InvalidAuthenticationTokenAudience")
    _, body = await ask(azure, http)
    assert (await arm(azure, http, Authorization=f"Bearer {body['access_token']}"))[0] == 200


async def test_tokens_run_out(make_azure):
    """A token is worth nothing once its time is over."""
    azure = make_azure("--token-seconds", "1")
    async with aiohttp.ClientSession(
        azure.endpoint, connector=aiohttp.TCPConnector(ssl=azure.tls())
    ) as http:
        _, body = await ask(azure, http)
        assert body["expires_in"] == 1
        while (answer := await arm(azure, http, Authorization=f"Bearer {body['access_token']}"))[
            0
        ] == 200:
            pass
        assert answer[:2] == (401, "ExpiredAuthenticationToken")


@pytest.mark.parametrize(
    ("path", "version", "status", "code", "reason"),
    [
        (
            "/resourceGroups",
            "",
            400,
            "MissingApiVersionParameter",
            "every ARM request has a version",
        ),
        ("/resourceGroups", "latest", 400, "InvalidApiVersionParameter", "a version is a date"),
        (
            "/resourceGroups",
            "2031-01-01",
            400,
            "InvalidApiVersionParameter",
            "a far future date is a typing error",
        ),
        (
            "/resourceGroups/none",
            "2021-04-01",
            404,
            "ResourceGroupNotFound",
            "a missing group has its own code",
        ),
        (
            "/resourceGroups/none/providers/Microsoft.App/containerApps/a",
            "2025-01-01",
            404,
            "ResourceGroupNotFound",
            "group first",
        ),
        (
            "/resourceGroups/g/providers/Microsoft.App/sessionPools/j",
            "2025-01-01",
            501,
            "NotImplemented",
            "never a wrong success",
        ),
        (
            "/resourceGroups/g/providers/Microsoft.App/nothings/j",
            "2025-01-01",
            404,
            "InvalidResourceType",
            "no such type",
        ),
        (
            "/resourceGroups/g/providers/Microsoft.App/jobs/j",
            "2020-01-01",
            400,
            "NoRegisteredProviderFound",
            "before its time",
        ),
        (
            "/providers/Microsoft.Nothing",
            "2021-04-01",
            404,
            "InvalidResourceNamespace",
            "an unknown provider",
        ),
    ],
)
async def test_what_arm_refuses(azure, clients, path, version, status, code, reason):
    """Each refusal has ARM's status, code and shape."""
    got, headers, body = await clients.raw("GET", f"{azure.subscription}{path}", version=version)
    assert (got, body["error"]["code"]) == (status, code), reason
    assert headers["x-ms-request-id"]


async def test_another_subscription_is_not_found(clients):
    """The local Azure knows exactly one subscription."""
    status, _, body = await clients.raw(
        "GET", "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups"
    )
    assert (status, body["error"]["code"]) == (404, "SubscriptionNotFound")


async def test_answers_carry_request_ids_and_what_is_left_of_the_limits(azure, clients):
    """Reads, writes and deletes count down on headers of their own."""
    _, headers, _ = await clients.raw("GET", f"{azure.subscription}/resourceGroups")
    assert int(headers["x-ms-ratelimit-remaining-subscription-reads"]) < 250
    _, headers, _ = await clients.raw("PUT", clients.group("rg-limits"), {"location": "eastus"})
    assert int(headers["x-ms-ratelimit-remaining-subscription-writes"]) < 200


async def test_an_unregistered_provider_refuses_writes_until_it_is_registered(azure, clients, http):
    """MissingSubscriptionRegistration is what makes the SDKs register a provider by themselves."""
    assert (
        await clients.resources.providers.get("Microsoft.App")
    ).registration_state == "Registered"
    _, body = await ask(azure, http)
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    path = f"{clients.group('rg-reg')}/providers/Microsoft.OperationalInsights/workspaces/law-reg"

    async def write():
        async with http.put(
            path, params={"api-version": "2025-07-01"}, json={"location": "eastus"}, headers=bearer
        ) as answer:
            return answer.status, (await answer.json()).get("error", {}).get("code")

    await clients.resources.resource_groups.create_or_update("rg-reg", {"location": "eastus"})
    await clients.resources.providers.unregister("Microsoft.OperationalInsights")
    assert await write() == (409, "MissingSubscriptionRegistration")
    begun = await clients.resources.providers.register("Microsoft.OperationalInsights")
    assert begun.registration_state == "Registering"
    while (
        await clients.resources.providers.get("Microsoft.OperationalInsights")
    ).registration_state != "Registered":
        await asyncio.sleep(0.02)
    assert await write() == (201, None)


async def test_what_az_reads_first(azure, clients, http):
    """Cloud metadata needs no login; subscriptions and locations are there."""
    async with http.get("/metadata/endpoints", params={"api-version": "2022-09-01"}) as answer:
        assert (await answer.json())["authentication"]["tenant"] == azure.facts["tenantId"]
    _, _, body = await clients.raw("GET", "/subscriptions")
    assert body["value"][0]["subscriptionId"] == azure.facts["subscriptionId"]
