"""The table of kinds: everything Moorage drives, one line each, in the order in which Azure needs
them created.

A new kind is one line here, its file in `kinds` (which `module` names) and its part of the local
Azure.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import NamedTuple, Self

from reconciler.api import versions
from reconciler.api.outputs import (
    AppOutputs,
    CatalogueOutputs,
    FolderOutputs,
    JobOutputs,
    Outputs,
    ResourceOutputs,
    RoutesOutputs,
    StorageOutputs,
    WorkspaceOutputs,
)
from reconciler.api.resources import (
    CatalogueSpec,
    ContainerAppSpec,
    EnvironmentStorageSpec,
    FolderSpec,
    GatewayRoutesSpec,
    JobSpec,
    ResourceSpec,
    ShareSpec,
)


class Scope(Enum):
    """The scope in which a resource type is listed."""

    SUBSCRIPTION = auto()
    RESOURCE_GROUP = auto()
    STORAGE_ACCOUNT = auto()
    MANAGED_ENVIRONMENT = auto()


class Listing(NamedTuple):
    """How to list a type: the path below its scope, and whether a list leaves out what we own, so
    that each item must be read as well.
    """

    path: str
    api_version: str
    in_detail: bool = False


class ArmType(NamedTuple):
    """A type of resource as ARM names it. `listed` is its path below the scope where that is not
    `providers/<name>`.
    """

    name: str
    api_version: str
    scope: Scope = Scope.RESOURCE_GROUP
    listed: str = ""
    in_detail: bool = False


_GROUP = ArmType(
    "Microsoft.Resources/resourceGroups",
    versions.RESOURCES,
    Scope.SUBSCRIPTION,
    listed="resourcegroups",
)
_WORKSPACE = ArmType("Microsoft.OperationalInsights/workspaces", versions.LOG_ANALYTICS)
_ACCOUNT = ArmType("Microsoft.Storage/storageAccounts", versions.STORAGE)
_SHARE = ArmType(
    "Microsoft.Storage/storageAccounts/fileServices/shares",
    versions.STORAGE,
    Scope.STORAGE_ACCOUNT,
    listed="fileServices/default/shares",
    in_detail=True,  # a list of shares has no metadata
)
_ENVIRONMENT = ArmType("Microsoft.App/managedEnvironments", versions.APP)
_STORAGE = ArmType(
    "Microsoft.App/managedEnvironments/storages",
    versions.APP,
    Scope.MANAGED_ENVIRONMENT,
    listed="storages",
)
_JOB = ArmType("Microsoft.App/jobs", versions.APP)
_APP = ArmType("Microsoft.App/containerApps", versions.APP)


class Kind(StrEnum):
    """Name; the classes of its specs and of what a look tells of it; its module in `kinds`; its ARM
    type, if it is one; whether it holds data, which is kept when its document goes.
    """

    RESOURCE_GROUP = "ResourceGroup", ResourceSpec, ResourceOutputs, "resource_group", _GROUP, True
    WORKSPACE = "LogAnalyticsWorkspace", ResourceSpec, WorkspaceOutputs, "log_analytics", _WORKSPACE
    STORAGE_ACCOUNT = (
        "StorageAccount",
        ResourceSpec,
        ResourceOutputs,
        "storage_account",
        _ACCOUNT,
        True,
    )
    SHARE = "FileShare", ShareSpec, ResourceOutputs, "file_share", _SHARE, True
    ENVIRONMENT = (
        "ManagedEnvironment",
        ResourceSpec,
        ResourceOutputs,
        "environment",
        _ENVIRONMENT,
    )
    STORAGE = (
        "EnvironmentStorage",
        EnvironmentStorageSpec,
        StorageOutputs,
        "environment_storage",
        _STORAGE,
    )
    FOLDER = "PublishedFolder", FolderSpec, FolderOutputs, "published_folder", None, True
    JOB = "Job", JobSpec, JobOutputs, "job", _JOB
    CATALOGUE = "AdapterCatalogue", CatalogueSpec, CatalogueOutputs, "adapter_catalogue", None, True
    ROUTES = "PublishedRoutes", GatewayRoutesSpec, RoutesOutputs, "published_routes", None, True
    APP = "ContainerApp", ContainerAppSpec, AppOutputs, "container_app", _APP

    spec: type
    outputs: type[Outputs]
    module: str
    arm: ArmType | None
    holds_data: bool

    def __new__(
        cls,
        name: str,
        spec: type,
        outputs: type[Outputs],
        module: str,
        arm: ArmType | None = None,
        holds_data: bool = False,
    ) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.spec, member.outputs, member.module = spec, outputs, module
        member.arm, member.holds_data = arm, holds_data
        return member

    @property
    def listing(self) -> Listing:
        """How ARM lists resources of this kind."""
        if self.arm is None:
            raise ValueError(f"ARM knows no {self}")
        path = self.arm.listed or f"providers/{self.arm.name}"
        return Listing(path, self.arm.api_version, self.arm.in_detail)

    @property
    def tagged(self) -> bool:
        """Whether its resources have tags: those below another resource have none."""
        return self.arm is not None and self.arm.scope in (
            Scope.SUBSCRIPTION,
            Scope.RESOURCE_GROUP,
        )

    @property
    def few(self) -> bool:
        """Whether a resource group holds few of them: then one list of the whole subscription takes
        fewer reads than a list for each group.
        """
        grouped = self.arm is not None and self.arm.scope is Scope.RESOURCE_GROUP
        return grouped and self not in (Kind.APP, Kind.JOB)
