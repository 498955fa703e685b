"""The stand-in for Entra ID: one tenant, one client, tokens that expire. The ARM front and the log
streams verify them here.

Routes: openid-configuration, the v2.0 token endpoint with client credentials, keys, MSAL's instance
    discovery.
"""

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from . import clock
from .secrecy import is_same
from .signing import SigningKey
from .store import Store

APP_ROLE = "Models.Use"  # the role that the one client has in every registered API
LoginReply = tuple[int, dict[str, Any], dict[str, str]]  # status, body, headers


@dataclass(frozen=True)
class Identity:
    """What `start` prints, generated at the first start."""

    tenant: str
    client: str
    secret: str
    subscription: str
    object: str

    @classmethod
    def of(cls, store: Store) -> "Identity":
        def guid(name: str) -> str:
            return store.setting(name, lambda: str(uuid.uuid4()))

        secret = store.setting("clientSecret", lambda: secrets.token_urlsafe(30))
        return cls(
            guid("tenantId"), guid("clientId"), secret, guid("subscriptionId"), guid("objectId")
        )


class TokenError(Exception):
    """An invalid bearer token; `code` is ARM's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Login:
    """Issues and verifies tokens with keys kept in the store, so that they outlive a restart. Those
    for Azure itself are HS256, which only this process has to check; those for an API that somebody
    registered (`api://…`) are RS256, and the tenant's keys check them.
    """

    def __init__(self, store: Store, lifetime_s: int) -> None:
        self.identity = Identity.of(store)
        self._key = store.setting("tokenKey", lambda: secrets.token_hex(32)).encode()
        self._signing = SigningKey(store)
        self._lifetime = lifetime_s
        self._verified: dict[str, dict[str, Any]] = {}

    def route(self, method: str, path: str, body: bytes, base: str) -> LoginReply | None:
        """The answer to a login path, or None when the path is not one."""
        parts = path.strip("/").lower().split("/")
        if parts[-2:] == ["discovery", "instance"]:
            return 200, _discovery(base, self.identity.tenant), {}
        if parts[-2:] == [".well-known", "openid-configuration"]:
            return self._tenant(parts[0]) or (200, _metadata(base, self.identity.tenant), {})
        if parts[-1] == "token" and "oauth2" in parts and method == "POST":
            return self._tenant(parts[0]) or self._token(
                parse_qs(body.decode("utf-8", "replace")), base
            )
        if parts[-1] == "keys" and "discovery" in parts:
            return 200, {"keys": [self._signing.public()]}, {}
        return None

    def issue(self, audience: str, base: str, **claims: Any) -> tuple[str, int]:
        """A signed token and the seconds it lives."""
        now = int(clock.now())
        identity = self.identity
        payload = {
            "aud": audience,
            "iss": f"{base}/{identity.tenant}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + self._lifetime,
            "appid": identity.client,
            "oid": identity.object,
            "sub": identity.object,
            "tid": identity.tenant,
            "idtyp": "app",
            "ver": "1.0",
            **claims,
        }
        if audience.startswith("api://"):
            payload["roles"] = [APP_ROLE]
            kind = {"alg": "RS256", "typ": "JWT", "kid": self._signing.id}
            head = _encode(kind) + b"." + _encode(payload)
            signature = base64.urlsafe_b64encode(self._signing.sign(head)).rstrip(b"=")
            return (head + b"." + signature).decode(), self._lifetime
        head = _encode({"alg": "HS256", "typ": "JWT"}) + b"." + _encode(payload)
        return (head + b"." + self._sign(head)).decode(), self._lifetime

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token made here and still valid; TokenError otherwise."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._read(token)
            if len(self._verified) > 500:
                self._verified.clear()
            self._verified[token] = claims
        if claims["exp"] <= clock.now():
            raise TokenError(
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
            )
        return claims

    def _read(self, token: str) -> dict[str, Any]:
        head, _, signature = token.rpartition(".")
        if not head or not self._holds(head, signature):
            raise TokenError("InvalidAuthenticationToken", "The access token is invalid.")
        claims: dict[str, Any] = json.loads(_decode(head.split(".")[1]))
        return claims

    def _holds(self, head: str, signature: str) -> bool:
        signed = head.encode(errors="surrogatepass")
        if is_same(signature, self._sign(signed).decode()):
            return True
        try:
            return self._signing.holds(signed, _decode(signature))
        except ValueError:
            return False

    def _sign(self, head: bytes) -> bytes:
        return base64.urlsafe_b64encode(hmac.new(self._key, head, hashlib.sha256).digest()).rstrip(
            b"="
        )

    def _tenant(self, tenant: str) -> LoginReply | None:
        if tenant == self.identity.tenant:
            return None
        return _refusal(400, "invalid_tenant", f"AADSTS90002: Tenant '{tenant}' not found.", 90002)

    def _token(self, form: Mapping[str, list[str]], base: str) -> LoginReply:
        def value(name: str) -> str:
            return form.get(name, [""])[0]

        if value("grant_type") != "client_credentials":
            return _refusal(
                400,
                "unsupported_grant_type",
                "AADSTS70003: The app requested an unsupported grant type.",
                70003,
            )
        if value("client_id") != self.identity.client:
            message = (
                f"AADSTS700016: Application with identifier '{value('client_id')}' was not found in"
                " the directory."
            )
            return _refusal(400, "unauthorized_client", message, 700016)
        if not is_same(value("client_secret"), self.identity.secret):
            message = (
                f"AADSTS7000215: Invalid client secret provided for app '{self.identity.client}'."
            )
            return _refusal(401, "invalid_client", message, 7000215)
        scope = value("scope") or value("resource")
        if not scope:
            message = (
                "AADSTS900144: The request body must contain the following parameter: 'scope'."
            )
            return _refusal(400, "invalid_request", message, 900144)
        audience = scope.split()[0].removesuffix("/.default")
        token, lifetime = self.issue(audience, base)
        body = {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": token,
        }
        return 200, body, {"Cache-Control": "no-store"}


def _metadata(base: str, tenant: str) -> dict[str, Any]:
    return {
        "token_endpoint": f"{base}/{tenant}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{base}/{tenant}/discovery/v2.0/keys",
        "issuer": f"{base}/{tenant}/v2.0",
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def _discovery(base: str, tenant: str) -> dict[str, Any]:
    host = base.split("://", 1)[1]
    return {
        "tenant_discovery_endpoint": f"{base}/{tenant}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }


def _refusal(status: int, error: str, message: str, code: int) -> LoginReply:
    trace = str(uuid.uuid4())
    body = {
        "error": error,
        "error_description": message,
        "error_codes": [code],
        "timestamp": clock.zulu(),
        "trace_id": trace,
    }
    return status, {**body, "correlation_id": str(uuid.uuid4())}, {}


def _encode(value: Mapping[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
