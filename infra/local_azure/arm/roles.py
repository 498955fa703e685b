"""What the caller's role permits, if this Azure was started with one: each request is an action, as
Azure names it. Used by `front` before a handler sees a request.

The file is a role definition as `az role definition create` takes it, and is read again whenever
it changes. Without one the caller is an owner.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .call import Call
from .errors import GATEWAY, ArmError
from .ids import Target

OWNER: dict[str, Any] = {
    "actions": ["*"],
    "notActions": [],
    "dataActions": [],
    "notDataActions": [],
}
_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
_READS = {"checknameavailability"}  # POST actions whose RBAC action ends in /read
_GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"


class RoleError(Exception):
    """The file of the role cannot be read."""


@dataclass
class Roles:
    """One per server. `file` is None for an owner."""

    file: Path | None = None
    _known: tuple[int, dict[str, Any]] = (0, OWNER)

    def permissions(self) -> dict[str, Any]:
        """What the one assignment grants, in the words of `Microsoft.Authorization/permissions`."""
        if self.file is None:
            return OWNER
        changed = self.file.stat().st_mtime_ns
        if self._known[0] != changed:
            self._known = (changed, read(self.file))
        return self._known[1]

    def check(self, method: str, target: Target, client: str, principal: str) -> None:
        """Refuse a request that the role does not grant. Requests that need no caller need no role.
        Raises ArmError.
        """
        if self.file is None or not principal:
            return
        action = action_of(method, target)
        if not self._grants(action):
            raise ArmError(
                403,
                "AuthorizationFailed",
                f"The client '{client}' with object id '{principal}' does not have authorization to"
                f" perform action '{action}' over scope '{target.path}' or the scope is invalid. If"
                " access was recently granted, please refresh your credentials.",
                headers=GATEWAY,
            )

    def check_links(self, call: Call, client: str) -> None:
        """Refuse a write that names resources which the caller may not use. Raises ArmError."""
        if self.file is None or call.method not in {"PUT", "PATCH"}:
            return
        for action, scope in _links(call):
            if not self._grants(action):
                own = action_of(call.method, call.target)
                raise ArmError(
                    403,
                    "LinkedAuthorizationFailed",
                    f"The client '{client}' with object id '{call.principal}' has permission to"
                    f" perform action '{own}' on scope '{call.target.path}'; however, it does not"
                    f" have permission to perform action(s) '{action}' on the linked scope(s)"
                    f" '{scope}' (respectively) or the linked scope(s) are invalid.",
                    headers=GATEWAY,
                )

    def _grants(self, action: str) -> bool:
        granted = self.permissions()
        return _any(action, granted["actions"]) and not _any(action, granted["notActions"])


def read(file: Path) -> dict[str, Any]:
    """The permissions of a role definition.

    Raises:
        RoleError: the file is none.
    """
    try:
        found = json.loads(file.read_text())
        fields = {name[:1].lower() + name[1:]: value for name, value in found.items()}
        role = {name: [str(each) for each in fields.get(name) or []] for name in OWNER}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RoleError(f"{file} is no role definition: {error}") from None
    if not role["actions"]:
        raise RoleError(f"{file} is no role definition: it has no Actions")
    return role


def action_of(method: str, target: Target) -> str:
    """The action that a request is, such as `microsoft.app/containerapps/write`."""
    shape = [part for part in target.route.split("/") if part != "{}"]
    if shape[:1] == ["subscriptions"]:
        return _of_subscription(method, target, shape[1:])
    kind = "/".join(shape)
    if method != "POST":
        return f"{kind}/{_VERBS.get(method, 'read')}"
    return f"{kind}/{'read' if shape[-1] in _READS else 'action'}"


def _of_subscription(method: str, target: Target, below: list[str]) -> str:
    """What belongs to no provider of its own: the subscription, its groups and its providers."""
    verb = _VERBS.get(method, "action")
    if below[:1] == ["providers"]:
        registers = len(below) > 1
        return (
            f"{target.namespace}/{below[1]}/action" if registers else f"{_above()}/providers/read"
        )
    if below[:1] == ["resourcegroups"]:
        return "/".join([_GROUPS, *below[1:], verb])
    return "/".join([_above(), *below, verb])


def _above() -> str:
    return _GROUPS.rpartition("/")[0]


def _links(call: Call) -> Iterator[tuple[str, str]]:
    """The actions that a write needs on what it names."""
    sent = call.body if isinstance(call.body, dict) else {}
    properties = sent.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    home = properties.get("environmentId") or properties.get("managedEnvironmentId")
    if home:
        yield "Microsoft.App/managedEnvironments/join/action", str(home)
    identity = sent.get("identity")
    users = identity.get("userAssignedIdentities") if isinstance(identity, dict) else None
    for one in users or ():
        yield "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", str(one)


def _any(action: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
