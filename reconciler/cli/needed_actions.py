"""The actions that the daemon's role must grant, and what is lost without those that it can do
without. `checkup` compares them with what Azure says; `role` writes the role that has them all.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.api.documents import InferenceService

if TYPE_CHECKING:
    from reconciler.api.loaded import Loaded

_GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"
REQUIRED = (
    "Microsoft.Resources/subscriptions/read",
    f"{_GROUPS}/read",
    f"{_GROUPS}/write",
    "Microsoft.Resources/subscriptions/providers/read",
    "Microsoft.OperationalInsights/workspaces/read",
    "Microsoft.OperationalInsights/workspaces/write",
    "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
    "Microsoft.OperationalInsights/locations/*/read",
    "Microsoft.Storage/storageAccounts/read",
    "Microsoft.Storage/storageAccounts/write",
    "Microsoft.Storage/storageAccounts/listKeys/action",
    "Microsoft.Storage/storageAccounts/fileServices/shares/read",
    "Microsoft.Storage/storageAccounts/fileServices/shares/write",
    "Microsoft.Storage/locations/*/read",
    "Microsoft.App/managedEnvironments/read",
    "Microsoft.App/managedEnvironments/write",
    "Microsoft.App/managedEnvironments/join/action",
    "Microsoft.App/managedEnvironments/usages/read",
    "Microsoft.App/managedEnvironments/storages/read",
    "Microsoft.App/managedEnvironments/storages/write",
    "Microsoft.App/containerApps/read",
    "Microsoft.App/containerApps/write",
    "Microsoft.App/containerApps/listSecrets/action",
    "Microsoft.App/containerApps/revisions/read",
    "Microsoft.App/containerApps/revisions/activate/action",
    "Microsoft.App/containerApps/revisions/deactivate/action",
    "Microsoft.App/containerApps/revisions/replicas/read",
    "Microsoft.App/jobs/read",
    "Microsoft.App/locations/*/read",
)
_FETCH = "a model of a hub cannot be fetched"
_DELETE = "what a document no longer asks for cannot be deleted"
_CAUSE = "what a failing container printed last is not told"
HUB = {
    "Microsoft.App/jobs/write": _FETCH,
    "Microsoft.App/jobs/start/action": _FETCH,
    "Microsoft.App/jobs/executions/read": _FETCH,
}
IDENTITY = {
    "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action": "a service can have no"
    " user-assigned identity",
}
OPTIONAL: Mapping[str, str] = {
    **HUB,
    **IDENTITY,
    "Microsoft.OperationalInsights/workspaces/delete": _DELETE,
    "Microsoft.Storage/storageAccounts/delete": _DELETE,
    "Microsoft.Storage/storageAccounts/fileServices/shares/delete": _DELETE,
    "Microsoft.App/managedEnvironments/delete": _DELETE,
    "Microsoft.App/managedEnvironments/storages/delete": _DELETE,
    "Microsoft.App/containerApps/delete": _DELETE,
    "Microsoft.App/jobs/delete": _DELETE,
    f"{_GROUPS}/delete": _DELETE,
    f"{_GROUPS}/resources/read": _DELETE,
    "Microsoft.Resources/subscriptions/operationresults/read": _DELETE,
    "Microsoft.App/containerApps/revisions/restart/action": "`moorage restart` is refused",
    "Microsoft.App/containerApps/getAuthtoken/action": _CAUSE,
    "Microsoft.App/jobs/getAuthToken/action": _CAUSE,
    "Microsoft.App/jobs/executions/replicas/read": _CAUSE,
    "Microsoft.Insights/eventtypes/values/read": "`moorage diff` does not say who changed what",
    "Microsoft.Storage/checknameavailability/read": "nobody says before the first write whether"
    " the storage account's name is free",
    "Microsoft.Authorization/permissions/read": "nobody says before the first write what the role"
    " lacks",
    **{
        f"{provider}/register/action": "a person registers the resource provider, if it is not"
        for provider in ("Microsoft.OperationalInsights", "Microsoft.Storage", "Microsoft.App")
    },
}

# Reading the streams of logs, which is an action on data.
DATA = ("Microsoft.App/containerApps/logstream/action",)


def missing(
    permissions: Sequence[Mapping[str, Any]], documents: Sequence[Loaded]
) -> tuple[list[str], dict[str, str]]:
    """What these documents cannot be served without, and what is lost for each other action that
    the identity may not do.
    """
    required = [*REQUIRED, *_for_documents(documents)]
    lacks = {action: why for action, why in OPTIONAL.items() if not allowed(action, permissions)}
    return (
        [action for action in required if not allowed(action, permissions)],
        {action: why for action, why in lacks.items() if action not in required},
    )


def allowed(action: str, permissions: Sequence[Mapping[str, Any]]) -> bool:
    """One role must grant it and not take it away; Azure adds roles up."""

    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(action.lower(), each.lower()) for each in patterns)

    return any(
        matches(each.get("actions") or ()) and not matches(each.get("notActions") or ())
        for each in permissions
    )


def _for_documents(documents: Sequence[Loaded]) -> list[str]:
    """What only some documents need."""
    found: dict[str, None] = {}
    for each in documents:
        if not isinstance(each.document, InferenceService):
            continue
        spec = each.document.spec
        if spec.model is not None and spec.model.source.startswith("hf://"):
            found |= dict.fromkeys(HUB)
        if spec.identity is not None and spec.identity.user_assigned_identities:
            found |= dict.fromkeys(IDENTITY)
    return [*found]
