"""Role assignments: which principal has which role at which scope. `providers.role_assignment`
keeps them, `vaults` asks whether one permits an action on data, and `image_check` whether one lets
an identity pull images.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from infra.local_azure.store import Record, Store

TYPE = "Microsoft.Authorization/roleAssignments"
KIND = TYPE.lower()
DEFINITION_TYPE = "Microsoft.Authorization/roleDefinitions"
_BELOW = f"/providers/{KIND}/"
PULL = "Microsoft.ContainerRegistry/registries/pull/read"
_VAULTS = "Microsoft.KeyVault/vaults"


@dataclass(frozen=True)
class BuiltInRole:
    """A role that every tenant of Azure has, under Azure's own id."""

    id: str
    name: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()

    def permits(self, data_action: str) -> bool:
        """Patterns and actions are compared without case."""
        return _matches(data_action, self.data_actions)

    def grants(self, action: str) -> bool:
        return _matches(action, self.actions) and not _matches(action, self.not_actions)


def _matches(action: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


_ACCESS = ("Delete", "Write", "elevateAccess/Action")
BUILT_IN = (
    BuiltInRole("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", ("*",)),
    BuiltInRole(
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Contributor",
        ("*",),
        tuple(f"Microsoft.Authorization/*/{verb}" for verb in _ACCESS),
    ),
    BuiltInRole("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", ("*/read",)),
    BuiltInRole(
        "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        "User Access Administrator",
        ("*/read", "Microsoft.Authorization/*"),
    ),
    BuiltInRole(
        "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "AcrPull",
        (PULL,),
    ),
    BuiltInRole(
        "00482a5a-887f-4fb3-b363-3b7fe8e74483",
        "Key Vault Administrator",
        (f"{_VAULTS}/*/read",),
        data_actions=(f"{_VAULTS}/*",),
    ),
    BuiltInRole(
        "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
        "Key Vault Secrets Officer",
        (f"{_VAULTS}/*/read",),
        data_actions=(f"{_VAULTS}/secrets/*",),
    ),
    BuiltInRole(
        "4633458b-17de-408a-b874-0445c86b69e6",
        "Key Vault Secrets User",
        (),
        data_actions=(
            f"{_VAULTS}/secrets/getSecret/action",
            f"{_VAULTS}/secrets/readMetadata/action",
        ),
    ),
    BuiltInRole(
        "21090545-7ca7-4776-b22c-e363652d74d2",
        "Key Vault Reader",
        (f"{_VAULTS}/*/read",),
        data_actions=(f"{_VAULTS}/*/read", f"{_VAULTS}/secrets/readMetadata/action"),
    ),
)


class Assignments:
    """Reads the store; an assignment counts from the next request on, which takes Azure minutes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def permits(self, principal: str, data_action: str, scope: str) -> bool:
        """Whether a role that the principal has at the scope or above it holds the data action."""
        return any(role.permits(data_action) for role in self._roles(principal, scope))

    def may_pull(self, principal: str, scope: str) -> bool:
        """Whether a role that the principal has at the scope or above it lets it pull images."""
        return any(role.grants(PULL) for role in self._roles(principal, scope))

    def _roles(self, principal: str, scope: str) -> Iterator[BuiltInRole]:
        here = f"{scope.lower()}/"
        for record in self._store.each(KIND):
            held = record.body["properties"]
            mine = str(held["principalId"]).lower() == principal.lower()
            if mine and here.startswith(f"{scope_of(record)}/"):
                role = built_in(str(held["roleDefinitionId"]))
                if role is not None:
                    yield role


def built_in(identifier: str) -> BuiltInRole | None:
    """The role of a definition's id, whatever scope the id begins with."""
    wanted = identifier.rpartition("/")[2].lower()
    return next((role for role in BUILT_IN if role.id == wanted), None)


def scope_of(assignment: Record) -> str:
    """Where it applies, in lower case."""
    return assignment.key[: assignment.key.rindex(_BELOW)]


def is_guid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
