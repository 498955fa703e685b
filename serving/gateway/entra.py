"""Tokens of Entra ID instead of API keys: checks signature, issuer, audience, time, app roles and
groups.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.gateway.routes import EntraGrant, EntraPolicy
from serving.request.answers import Answer, refuse
from serving.request.keys import Header

if TYPE_CHECKING:
    from jwt import PyJWKSet

LEEWAY = 60.0  # seconds by which clocks may differ
KEYS_LAST, KEYS_AGAIN = 86_400.0, 60.0  # seconds until keys are fetched again; for an unknown key
FAILED_AGAIN = 5.0  # seconds until a tenant that could not be asked is asked again
_CHECKED = 1000  # tokens whose check is remembered
_SUBJECT = re.compile(r"[\w.@-]{1,90}", re.ASCII)  # what a replica and its log take of a name
_LONGEST = 32 << 10  # bytes of a token


@dataclass(frozen=True)
class TokenHolder:
    """Whose token it is; `grant` is the first of the policy that it has, None where all may."""

    subject: str
    grant: EntraGrant | None
    until: float


class TokenRefusedError(Exception):
    """The token opens nothing; `answer` says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        code = "invalid_token" if status == 401 else "not_allowed"
        headers = [(b"www-authenticate", b'Bearer error="invalid_token"')] if status == 401 else []
        self.answer: Answer = refuse(status, text, code, *headers)


class EntraTokens:
    """`fetch` reads the tenant's keys. Checked tokens are remembered until they expire, because
    checking a signature takes longer than the rest of a request.
    """

    def __init__(
        self, fetch: Callable[[str], Awaitable[bytes]], clock: Callable[[], float] = time.time
    ) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: PyJWKSet | None = None
        self._of: EntraPolicy | None = None
        self._fetched = self._failed = float("-inf")
        self._turn = asyncio.Lock()
        self._checked: OrderedDict[str, TokenHolder] = OrderedDict()

    async def check(self, policy: EntraPolicy, token: str) -> TokenHolder:
        """Raises TokenRefusedError."""
        if policy != self._of:
            self._of, self._keys, self._fetched = policy, None, float("-inf")
            self._checked.clear()
        digest = hashlib.sha256(token.encode()).hexdigest()
        known = self._checked.get(digest)
        if known is not None and known.until > self._clock():
            return known
        holder = _holder(policy, await self._claims(policy, token))
        self._checked[digest] = holder
        if len(self._checked) > _CHECKED:
            self._checked.popitem(last=False)
        return holder

    async def _claims(self, policy: EntraPolicy, token: str) -> dict[str, Any]:
        import jwt

        try:
            head = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise TokenRefusedError(401, "The token is no token of Entra ID.") from None
        async with self._turn:  # keys are fetched once, however many tokens come
            key = await self._key(policy, head.get("kid"))
        try:
            return jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=[policy.audience, policy.audience.removeprefix("api://")],
                # Tokens of version 1.0, an app registration's default, name this issuer.
                issuer=[policy.issuer, f"https://sts.windows.net/{policy.tenant}/"],
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise TokenRefusedError(401, f"The token does not hold: {error}.") from None

    async def _key(self, policy: EntraPolicy, kid: object) -> Any:
        """The tenant's key of this name; fetched again when it is not among those known."""
        now = self._clock()
        for _ in range(2):
            if self._keys is not None and now - self._fetched < KEYS_LAST:
                for key in self._keys.keys:
                    if key.key_id == kid and kid is not None:
                        return key
            if now - self._fetched < KEYS_AGAIN:
                break
            await self._refresh(policy, now)
        raise TokenRefusedError(
            401, "The token is signed with a key that its tenant does not have."
        )

    async def _refresh(self, policy: EntraPolicy, now: float) -> None:
        import jwt

        waiting = now - self._failed < FAILED_AGAIN
        try:
            if waiting:
                raise OSError
            self._keys = jwt.PyJWKSet.from_json((await self._fetch(policy.jwks_url)).decode())
            self._fetched = now
        except (OSError, ValueError, jwt.PyJWTError):
            if self._keys is None:
                self._failed = self._failed if waiting else now
                text = "The keys of the tenant cannot be read now; try again."
                raise TokenRefusedError(503, text) from None
            self._fetched = now  # those known go on being used


def token_of(headers: Iterable[Header]) -> str | None:
    """The bearer token, if it has a token's form."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            text = token.strip().decode("latin-1")
            if scheme.lower() == b"bearer" and text.count(".") == 2 and len(text) <= _LONGEST:
                return text
    return None


def _holder(policy: EntraPolicy, claims: dict[str, Any]) -> TokenHolder:
    """Raises TokenRefusedError."""
    if claims.get("tid", policy.tenant) != policy.tenant:
        raise TokenRefusedError(401, "The token is of another tenant.")
    subject = claims.get("oid") or claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise TokenRefusedError(401, "The token does not say whose it is.")
    has = {*_texts(claims.get("roles")), *_texts(claims.get("groups")), subject}
    grant = next((one for one in policy.allow if one.value in has), None)
    if policy.allow and grant is None:
        text = "This token has none of the app roles and groups that may use this gateway."
        if "groups" in (claims.get("_claim_names") or {}):
            text += " It has too many groups to name them: use an app role."
        raise TokenRefusedError(403, text)
    return TokenHolder(subject, grant, float(claims["exp"]))


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
