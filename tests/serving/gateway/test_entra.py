"""Tokens of Entra ID open a gateway when all that they say holds, and nothing else of them does."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import openai
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from serving.gateway.entra import KEYS_AGAIN, EntraTokens, TokenRefusedError
from serving.gateway.routes import EntraGrant, EntraPolicy
from tests.serving.gateway.stand_in import StandIn, served

TENANT = "11111111-2222-3333-4444-555555555555"
ISSUER = f"https://login.example/{TENANT}/v2.0"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TEAM = EntraGrant(value="Models.Use", models=("phi",), requests_per_minute=2)


def jwks(**keys):
    return json.dumps(
        {
            "keys": [
                jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": name}
                for name, key in keys.items()
            ]
        }
    ).encode()


def token(key=KEY, kid="one", algorithm="RS256", **claims):
    claims = {
        "aud": "api://moorage",
        "iss": ISSUER,
        "exp": time.time() + 600,
        "tid": TENANT,
        "oid": "somebody",
        "roles": ["Models.Use"],
    } | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid})


def policy(url="https://login.example/keys", **more):
    values = {"tenant": TENANT, "audience": "api://moorage", "issuer": ISSUER, "allow": (TEAM,)}
    return EntraPolicy(**values | more, jwks_url=url)


class Keys:
    def __init__(self, body):
        self.body, self.asked = body, 0

    async def __call__(self, url):
        self.asked += 1
        if self.body is None:
            raise OSError
        return self.body


def _unsigned(**claims):
    return jwt.encode({"aud": "api://moorage", "iss": ISSUER} | claims, None, "none")


def _confused():
    """Signed with the public key as if it were a shared secret."""
    public = json.loads(jwks(one=KEY))["keys"][0]["n"]
    head, body, _ = token().split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=").decode()
    signed = hmac.digest(public.encode(), f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        (token, 200, ""),
        (lambda: token(aud="moorage"), 200, ""),
        (lambda: token(iss=f"https://sts.windows.net/{TENANT}/"), 200, ""),
        (lambda: token(roles=None, groups=["Models.Use"]), 200, ""),
        (lambda: token(exp=time.time() - 30), 200, ""),
        (lambda: token(exp=time.time() - 90), 401, "expired"),
        (lambda: token(nbf=time.time() + 900), 401, "not yet valid"),
        (lambda: token(exp=None), 401, 'missing the "exp" claim'),
        (lambda: token(aud="api://other"), 401, "Audience"),
        (lambda: token(aud=None), 401, 'missing the "aud" claim'),
        (lambda: token(iss="https://login.example/other/v2.0"), 401, "issuer"),
        (lambda: token(tid="other"), 401, "another tenant"),
        (lambda: token(oid=None), 401, "does not say whose"),
        (lambda: token(oid="a\nb: c"), 401, "does not say whose"),
        (lambda: token(key=OTHER), 401, "Signature"),
        (lambda: token(kid="two"), 401, "a key that its tenant does not have"),
        (_unsigned, 401, "a key that its tenant does not have"),
        (_confused, 401, "does not hold"),
        (lambda: "a.b.c", 401, "no token"),
        (lambda: token(roles=["Models.Admin"]), 403, "none of the app roles"),
        (lambda: token(roles="Models.Use"), 403, "none of the app roles"),
        (lambda: token(roles=None, _claim_names={"groups": "src1"}), 403, "use an app role"),
    ],
    ids=range(22),
)
async def test_a_token_opens_when_everything_in_it_holds(given, status, says):
    """Signature, issuer, audience, time, tenant and role: one that is wrong closes the gateway."""
    tokens = EntraTokens(Keys(jwks(one=KEY)))
    if status == 200:
        holder = await tokens.check(policy(), given())
        assert (holder.subject, holder.grant) == ("somebody", TEAM)
        return
    with pytest.raises(TokenRefusedError, match=says) as refused:
        await tokens.check(policy(), given())
    assert refused.value.answer.status == status


async def test_a_tenants_new_key_is_fetched_and_a_flood_of_wrong_ones_is_not():
    """An unknown key is looked for once a minute; while the tenant's keys cannot be read, those
    known go on.
    """
    now = [time.time()]
    keys = Keys(jwks(one=KEY))
    tokens = EntraTokens(keys, lambda: now[0])
    await tokens.check(policy(), token())
    keys.body = jwks(two=OTHER)
    for _ in range(5):
        with pytest.raises(TokenRefusedError):
            await tokens.check(policy(), token(key=OTHER, kid="two"))
    assert keys.asked == 1
    now[0] += KEYS_AGAIN + 1
    await tokens.check(policy(), token(key=OTHER, kid="two"))
    assert keys.asked == 2
    keys.body = None
    now[0] += KEYS_AGAIN + 1
    with pytest.raises(TokenRefusedError):
        await tokens.check(policy(), token(kid="three"))
    assert (await tokens.check(policy(), token(key=OTHER, kid="two", oid="x"))).subject == "x"


async def test_keys_that_cannot_be_read_are_no_wrong_token():
    """Before any key is known the answer is 503, which clients try again."""
    keys, now = Keys(None), [time.time()]
    tokens = EntraTokens(keys, lambda: now[0])
    for _ in range(5):
        with pytest.raises(TokenRefusedError) as refused:
            await tokens.check(policy(), token())
        assert refused.value.answer.status == 503
    assert keys.asked == 1, "a flood of tokens asks a tenant that does not answer no more often"
    keys.body = jwks(one=KEY)
    now[0] += 6
    assert (await tokens.check(policy(), token())).subject == "somebody"


async def test_a_remembered_token_expires():
    """A token is checked once, and no longer opens when it has expired or the policy changes."""
    now = [time.time()]
    tokens = EntraTokens(Keys(jwks(one=KEY)), lambda: now[0])
    given = token(exp=now[0] + 100)
    await tokens.check(policy(), given)
    assert await tokens.check(policy(), given) is await tokens.check(policy(), given)
    with pytest.raises(TokenRefusedError, match="none of the app roles"):
        await tokens.check(policy(allow=(EntraGrant(value="Other"),)), given)


async def test_openais_client_calls_with_a_token(gateways):
    """The unmodified client with a token provider is answered, with the grant's models and limits,
    and its usage is counted for the token's holder.
    """

    async def keys(request):
        return web.Response(body=jwks(one=KEY))

    async def provide():
        return token()

    async with served(keys) as url:
        phi = StandIn()
        gateway = await gateways(phi=phi, llama=StandIn(), more={"entra": policy(url)})
        client = openai.AsyncOpenAI(api_key=provide, base_url=f"{gateway.url}/v1", max_retries=0)
        messages = [{"role": "user", "content": "hi"}]
        answer = await client.chat.completions.create(model="phi", messages=messages)
        assert answer.choices[0].message.content == "one two three"
        with pytest.raises(openai.PermissionDeniedError, match="may not use the model"):
            await client.chat.completions.create(model="llama", messages=messages)
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="phi", messages=messages)
        wrong = client.copy(api_key=token(key=OTHER))
        with pytest.raises(openai.AuthenticationError):
            await wrong.models.list()
    assert gateway.world.usage.totals["entra:somebody", "phi"].requests == 1
    assert phi.seen[0][2]["x-moorage-key-name"] == "entra:somebody"
