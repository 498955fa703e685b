"""The one table of resource types. To add one, write its file in this package and add its line
here.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, get_type_hints

from . import (
    activity_log,
    key_vault,
    lock,
    managed_identity,
    permission,
    resource_group,
    role_assignment,
    subscriptions,
    workspace,
)
from .app import (
    auth_config,
    container_app,
    dapr_component,
    environment_storage,
    execution,
    job,
    managed_environment,
    revision,
    workload_profiles,
)
from .deployments import deployment
from .provider import Provider
from .storage import file_service, file_share, storage_account

TYPES: tuple[type[Provider], ...] = (
    subscriptions.Subscriptions,
    resource_group.ResourceGroups,
    lock.Locks,
    permission.Permissions,
    role_assignment.RoleAssignments,
    activity_log.ActivityEvents,
    managed_identity.ManagedIdentities,
    key_vault.KeyVaults,
    workspace.Workspaces,
    storage_account.StorageAccounts,
    file_service.FileServices,
    file_share.FileShares,
    managed_environment.ManagedEnvironments,
    environment_storage.EnvironmentStorages,
    dapr_component.DaprComponents,
    workload_profiles.LocationUsages,
    container_app.ContainerApps,
    revision.Revisions,
    auth_config.AuthConfigs,
    job.Jobs,
    execution.JobExecutions,
    deployment.Deployments,
)


def build(parts: Iterable[Any]) -> list[Provider]:
    """Every provider with the parts that its fields ask for, found by their types. KeyError when
    a part is missing.
    """
    known = {type(part): part for part in parts}
    return [
        kind(**{name: known[wanted] for name, wanted in _needs(kind).items()}) for kind in TYPES
    ]


def _needs(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
