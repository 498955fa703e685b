"""Who wrote to Azure, in words: a user's name, a managed identity's name, or the id of an
application, whose name only the directory knows. `activity` and `cli.writers` use it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LONGEST = 16 * 1024  # characters of a token
_OWN = ("oid", "appid", "upn", "unique_name", "email")
_NAMES = ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "upn", "unique_name")


def caller_of(event: Mapping[str, Any]) -> str:
    """The caller of an event of the Activity Log. A user's token names the application that the
    user works with too, so that is told only where no user is.
    """
    claims = event.get("claims")
    claims = claims if isinstance(claims, Mapping) else {}
    caller = str(event.get("caller") or "")
    if identity := claims.get("xms_mirid"):
        return f"managed identity {str(identity).rstrip('/').rpartition('/')[2]}"
    user = next((str(claims[name]) for name in _NAMES if claims.get(name)), "")
    if user or (caller and not _GUID.fullmatch(caller)):
        return user or caller
    application = str(claims.get("appid") or caller)
    return f"application {application}" if application else "somebody"


def writer_of(by: str, kind: str) -> str:
    """The last writer as the systemData of a resource tells it."""
    if not _GUID.fullmatch(by):
        return by
    return f"managed identity {by}" if kind == "ManagedIdentity" else f"application {by}"


def signed_in(token: str) -> frozenset[str]:
    """Names of whoever has the token, in lower case; none where it cannot be read. The token is our
    own and is not verified.
    """
    try:
        body = token[:_LONGEST].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return frozenset(str(claims[name]).lower() for name in _OWN if claims.get(name))
    except (IndexError, ValueError, AttributeError, TypeError):
        return frozenset()
