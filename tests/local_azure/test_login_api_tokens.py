"""Tokens for an API that somebody registered: whoever serves it checks them by the tenant's keys."""

import jwt
import pytest

from infra.local_azure.login import APP_ROLE, Login, TokenError
from infra.local_azure.store import Store
from serving.gateway.entra import EntraTokens
from serving.gateway.routes import EntraGrant, EntraPolicy
from tests.local_azure.test_login import arm, ask


async def test_a_token_for_an_api_is_signed_by_the_tenant(azure, http):
    """A gateway takes it with the public keys, the role and the object id; Resource Manager says
    that it is for somebody else.
    """
    _, body = await ask(azure, http, scope="api://moorage/.default")
    tenant = azure.facts["tenantId"]

    async def fetch(url):
        async with http.get(url) as answer:
            return await answer.read()

    subject = jwt.decode(body["access_token"], options={"verify_signature": False})["oid"]
    for value in (APP_ROLE, subject):
        policy = EntraPolicy(
            tenant=tenant,
            audience="api://moorage",
            issuer=f"{azure.endpoint}/{tenant}/v2.0",
            jwks_url=f"/{tenant}/discovery/v2.0/keys",
            allow=(EntraGrant(value=value),),
        )
        holder = await EntraTokens(fetch).check(policy, body["access_token"])
        assert holder.subject == subject
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    assert (await arm(azure, http, **bearer))[:2] == (401, "InvalidAuthenticationTokenAudience")


def test_the_key_outlives_a_restart_and_nobody_elses_counts(tmp_path):
    """A login that starts again takes the tokens that it issued, and no token of another."""
    login = Login(Store(tmp_path / "one"), 600)
    token, _ = login.issue("api://moorage", "https://login")
    assert Login(Store(tmp_path / "one"), 600).verify(token)["aud"] == "api://moorage"
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
    other, _ = Login(Store(tmp_path / "two"), 600).issue("api://moorage", "https://login")
    with pytest.raises(TokenError):
        login.verify(other)
