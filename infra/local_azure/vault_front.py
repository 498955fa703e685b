"""The data plane of Key Vault, as far as secrets go: set, get, list and delete, with a token for
https://vault.azure.net. The server asks it for requests to a host `VAULT.vault.…`.
"""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from . import clock
from .arm.reply import Reply
from .changes import Changes
from .control.vaults import ACTIONS, SECRET, Vaults, uses_roles, version_of
from .login import Login, TokenError
from .store import Record, Store

HOST = re.compile(r"(?P<vault>[a-z0-9-]+)\.vault\.[a-z0-9.-]+(:\d+)?", re.IGNORECASE)
_PATH = re.compile(r"/secrets(?:/(?P<name>[a-zA-Z0-9-]{1,127})(?:/(?P<version>[0-9a-f]*))?)?/?")
_AUDIENCES = ("https://vault.azure.net", "https://vault.localhost")
_OPERATIONS = {"GET": "get", "PUT": "set", "DELETE": "delete"}
Body = dict[str, Any]


class VaultFront:
    """One per server."""

    def __init__(self, store: Store, login: Login, vaults: Vaults, changes: Changes) -> None:
        self._store = store
        self._login = login
        self._vaults = vaults
        self._changes = changes

    def answer(
        self, host: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Answer one request; never raises."""
        match, named = HOST.fullmatch(host), _PATH.fullmatch(path)
        vault = self._vaults.called(match["vault"]) if match else None
        if vault is None:
            return _refused(404, "VaultNotFound", f"There is no vault at {host}.")
        principal = self._principal(headers)
        if principal is None:
            where = f'authorization="https://{host}/{self._login.identity.tenant}"'
            challenge = f'Bearer {where}, resource="https://vault.azure.net"'
            text = "AKV10000: Request is missing a Bearer or PoP token."
            return _refused(401, "Unauthorized", text, {"WWW-Authenticate": challenge})
        if named is None or method not in _OPERATIONS:
            return _refused(404, "NotFound", f"The local Azure does not serve {method} {path}.")
        operation = "list" if not named["name"] else _OPERATIONS[method]
        if not self._vaults.may(vault, principal, operation, named["name"] or ""):
            return self._forbidden(vault, principal, operation, named["name"] or "")
        base = f"https://{host}"
        if not named["name"]:
            found = self._store.each(SECRET, vault.id)
            return Reply(200, {"value": [_item(base, each) for each in found], "nextLink": None})
        return self._of_one(method, base, vault, named["name"], named["version"] or "", body)

    def _forbidden(self, vault: Record, principal: str, operation: str, name: str) -> Reply:
        """In the words of Key Vault, which differ by what opens the vault."""
        place = f"{vault.name};location={vault.body['location']}"
        if not uses_roles(vault):
            text = (
                f"The user, group or application 'oid={principal}' does not have secrets"
                f" {operation} permission on key vault '{place}'."
            )
            more = {"innererror": {"code": "AccessDenied"}}
            return _refused(403, "Forbidden", text, more=more)
        identity = self._login.identity
        resource = f"{vault.id.lower()}/secrets/{name}" if name else vault.id.lower()
        text = (
            "Caller is not authorized to perform action on resource.\r\n"
            "If role assignments, deny assignments or role definitions were changed recently,"
            " please observe propagation time.\r\n"
            f"Caller: appid={identity.client};oid={principal};"
            f"iss=https://sts.windows.net/{identity.tenant}/\r\n"
            f"Action: '{ACTIONS[operation]}'\r\nResource: '{resource}'\r\n"
            "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n"
            f"Vault: {place}\r\n"
        )
        return _refused(403, "Forbidden", text, more={"innererror": {"code": "ForbiddenByRbac"}})

    def _of_one(
        self, method: str, base: str, vault: Record, name: str, version: str, body: bytes
    ) -> Reply:
        if method == "PUT":
            return self._set(base, vault, name, body)
        secret = self._vaults.secret(vault, name)
        found = version_of(secret, version) if secret else None
        if secret is None or found is None:
            text = (
                f"A secret with (name/id) {name}{f'/{version}' if version else ''} was not found in"
                " this key vault. If you recently deleted this secret you may be able to recover it"
                " using the correct recovery command."
            )
            return _refused(404, "SecretNotFound", text)
        if method == "DELETE":
            self._store.delete(secret.id)
            self._changes.notify()
        return Reply(200, _bundle(base, secret, found))

    def _set(self, base: str, vault: Record, name: str, body: bytes) -> Reply:
        """A new version; the ones before it stay."""
        try:
            sent = json.loads(body)
            value = sent["value"]
        except (ValueError, TypeError, KeyError):
            value = None
        if not isinstance(value, str) or len(value) > 25_600:
            return _refused(400, "BadParameter", "Property value is invalid.")
        secret = self._vaults.secret(vault, name) or Record(
            f"{vault.id}/secrets/{name}", SECRET, {}, {"versions": []}
        )
        attributes = sent.get("attributes") or {}
        made = {
            "version": uuid.uuid4().hex,
            "value": value,
            "enabled": attributes.get("enabled") is not False,
            "created": int(clock.now()),
        }
        secret.private["versions"].append(made)
        self._store.put(secret)
        self._changes.notify()
        return Reply(200, _bundle(base, secret, made))

    def _principal(self, headers: Mapping[str, str]) -> str | None:
        """Who calls, by a token for vaults; None without one."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        try:
            claims = self._login.verify(token) if scheme.lower() == "bearer" else {}
        except (TokenError, ValueError, KeyError):
            return None
        return str(claims["oid"]) if str(claims.get("aud")).startswith(_AUDIENCES) else None


def _bundle(base: str, secret: Record, version: Body) -> Body:
    return {
        "value": version["value"],
        "id": f"{base}/secrets/{secret.name}/{version['version']}",
        "attributes": _attributes(version),
    }


def _item(base: str, secret: Record) -> Body:
    """As lists show a secret: without its value."""
    newest = secret.private["versions"][-1]
    return {"id": f"{base}/secrets/{secret.name}", "attributes": _attributes(newest)}


def _attributes(version: Body) -> Body:
    created = version["created"]
    return {
        "enabled": version["enabled"],
        "created": created,
        "updated": created,
        "recoveryLevel": "Purgeable",
    }


def _refused(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Reply:
    return Reply(
        status, {"error": {"code": code, "message": message, **(more or {})}}, dict(headers or {})
    )
