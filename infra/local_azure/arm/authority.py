"""Who calls: the token of a request, checked against this Azure's login. Used by `front`."""

from collections.abc import Mapping

from infra.local_azure.login import Login, TokenError

from .errors import GATEWAY, ArmError

_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")


def caller(login: Login, headers: Mapping[str, str], base: str) -> str:
    """The caller's object id; 401 with the header that tells a client where to log in."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if not token:
        text = "Authentication failed. The 'Authorization' header is missing."
        raise _unauthorized(login, base, "AuthenticationFailed", text)
    if scheme.lower() != "bearer":
        text = "Authentication failed. The header is invalid."
        raise _unauthorized(login, base, "AuthenticationFailedInvalidHeader", text)
    try:
        claims = login.verify(token)
    except TokenError as error:
        raise _unauthorized(login, base, error.code, error.message) from None
    audience = _loopback(str(claims["aud"]).rstrip("/"))
    if audience not in (*_AUDIENCES, _loopback(base)):
        wrong = claims["aud"]
        text = f"The access token has been obtained for wrong audience or resource '{wrong}'."
        raise _unauthorized(login, base, "InvalidAuthenticationTokenAudience", text)
    return str(claims["oid"])


def known_caller(login: Login, headers: Mapping[str, str]) -> str:
    """The object id of a caller, even of a refused one; empty without a valid token."""
    token = headers.get("Authorization", "").partition(" ")[2]
    try:
        return str(login.verify(token)["oid"]) if token else ""
    except TokenError:
        return ""


def _loopback(address: str) -> str:
    """Clients may say localhost or 127.0.0.1 for this server."""
    return address.replace("//localhost:", "//127.0.0.1:")


def _unauthorized(login: Login, base: str, code: str, message: str) -> ArmError:
    challenge = (
        f'Bearer authorization_uri="{base}/{login.identity.tenant}", error="invalid_token",'
        f' error_description="{message}"'
    )
    return ArmError(401, code, message, headers={"WWW-Authenticate": challenge, **GATEWAY})
