"""Key Vaults: who may read which secret. `providers.key_vault` keeps them, `vault_front` serves
their secrets, and the control of apps and jobs reads what a secret of theirs refers to.
"""

import re
from collections.abc import Mapping
from typing import Any

from infra.local_azure.arm.errors import bad_request
from infra.local_azure.store import Record, Store

from .assignments import Assignments
from .records import directory_id

Body = dict[str, Any]
TYPE = "Microsoft.KeyVault/vaults"
KIND = TYPE.lower()
SECRET = f"{KIND}/secrets"
SYSTEM = "system"
# By operation, what a role must hold.
ACTIONS: Mapping[str, str] = {
    "get": f"{TYPE}/secrets/getSecret/action",
    "set": f"{TYPE}/secrets/setSecret/action",
    "list": f"{TYPE}/secrets/readMetadata/action",
    "delete": f"{TYPE}/secrets/delete",
}
_URL = re.compile(
    r"https://(?P<vault>[a-z0-9-]+)\.vault\.[a-z0-9.-]+(:\d+)?/secrets/(?P<name>[a-z0-9-]+)"
    r"(/(?P<version>[0-9a-f]*))?",
    re.IGNORECASE,
)


class VaultError(Exception):
    """A secret that cannot be read; the text says why."""


class Vaults:
    """Reads the store; nothing is cached, because a new value counts from the next replica on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def called(self, name: str) -> Record | None:
        """The vault of that name, which is unique in all of Azure."""
        wanted = name.lower()
        return next((each for each in self._store.each(KIND) if each.name.lower() == wanted), None)

    def secret(self, vault: Record, name: str) -> Record | None:
        return self._store.get(f"{vault.id}/secrets/{name}")

    def may(self, vault: Record, principal: str, operation: str, name: str = "") -> bool:
        """Whether the principal may `get`, `set`, `list` or `delete`: by a role at the secret
        `name`, the vault or above it if the vault uses roles, else by an access policy.
        """
        if uses_roles(vault):
            scope = f"{vault.id}/secrets/{name}" if name else vault.id
            return Assignments(self._store).permits(principal, ACTIONS[operation], scope)
        return any(
            str(policy.get("objectId")).lower() == principal.lower()
            and operation in _granted(policy)
            for policy in vault.body["properties"]["accessPolicies"]
        )

    def values(self, owner: Record) -> dict[str, str]:
        """The secrets of an app or a job by name, those of Key Vaults as they are now; one that
        cannot be read any more is empty.
        """
        found = {}
        for entry in owner.private["secrets"]:
            try:
                found[str(entry["name"])] = self.value(entry, owner.id)
            except VaultError:
                found[str(entry["name"])] = ""
        return found

    def require_all(self, owner: Record) -> None:
        """Refuse a write of an app or a job if the identity that a secret names is not assigned to
        it or cannot read the secret. Raises ArmError.
        """
        has = owner.body.get("identity") or {}
        own = {user.lower() for user in has.get("userAssignedIdentities") or {}}
        own |= {SYSTEM} if "SystemAssigned" in str(has.get("type")) else set()
        for entry in owner.private["secrets"]:
            try:
                if entry.get("keyVaultUrl") and str(entry.get("identity")).lower() not in own:
                    raise VaultError(_refusal(entry))
                self.value(entry, owner.id)
            except VaultError as unread:
                text = (
                    "The following field(s) are either invalid or missing. Field"
                    " 'configuration.secrets' is invalid with details: 'Invalid value:"
                    f' "{entry["name"]}": {unread}\';.'
                )
                raise bad_request("InvalidParameterValueInContainerTemplate", text) from None

    def value(self, entry: Mapping[str, Any], owner: str) -> str:
        """The value of a secret of the app or job with the id `owner`.

        Raises:
            VaultError: there is no such secret, or the identity may not read it.
        """
        url = entry.get("keyVaultUrl")
        if not url:
            return str(entry.get("value") or "")
        match = _URL.fullmatch(str(url))
        vault = self.called(match["vault"]) if match else None
        identity = str(entry.get("identity") or "")
        principal = principal_of(identity, owner)
        if match is None or vault is None or not self.may(vault, principal, "get", match["name"]):
            raise VaultError(_refusal(entry))
        secret = self.secret(vault, match["name"])
        version = secret and version_of(secret, match["version"] or "")
        if not version:
            raise VaultError(_refusal(entry))
        return str(version["value"])


def principal_of(identity: str, owner: str) -> str:
    """The principal of `system`, or of the user-assigned identity with this id, for the app or job
    `owner`.
    """
    return directory_id(owner if identity.lower() == SYSTEM else identity, "principal")


def uses_roles(vault: Record) -> bool:
    """Whether roles open the vault and its access policies count for nothing."""
    return vault.body["properties"].get("enableRbacAuthorization") is True


def version_of(secret: Record, version: str) -> Body | None:
    """One version of a secret, the newest if none is named; None if it is not enabled."""
    versions: list[Body] = secret.private["versions"]
    found = versions[-1:] if not version else [v for v in versions if v["version"] == version]
    return found[0] if found and found[0]["enabled"] else None


def _granted(policy: Mapping[str, Any]) -> set[str]:
    words = {str(each).lower() for each in (policy.get("permissions") or {}).get("secrets") or ()}
    return words | ({"get", "set", "list", "delete"} if "all" in words else set())


def _refusal(entry: Mapping[str, Any]) -> str:
    name, identity = entry.get("name"), entry.get("identity")
    return (
        f"Unable to get value using Managed identity {identity} for secret {name}. Error: unable to"
        f" fetch secret '{name}' using Managed identity '{identity}'"
    )
