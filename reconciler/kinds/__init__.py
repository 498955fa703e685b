"""One file per kind of resource, all of one shape (`engine.external.External`). `kinds_for` is the
only list.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from reconciler.arm.clients import Arm
from reconciler.engine.external import External
from reconciler.kinds.adapter_catalogue import AdapterCatalogue
from reconciler.kinds.arm_resource import OwnerOf
from reconciler.kinds.container_app import ContainerApp
from reconciler.kinds.environment import ManagedEnvironment
from reconciler.kinds.environment_storage import EnvironmentStorage
from reconciler.kinds.file_share import FileShare
from reconciler.kinds.job import Job
from reconciler.kinds.log_analytics import LogAnalyticsWorkspace
from reconciler.kinds.published_folder import PublishedFolder
from reconciler.kinds.replicas import Looks
from reconciler.kinds.reports import Reports
from reconciler.kinds.resource_group import ResourceGroup
from reconciler.kinds.shares import Shares
from reconciler.kinds.storage_account import StorageAccount


def kinds_for(arm: Arm, owner_of: OwnerOf, shares: Shares) -> Mapping[str, External]:
    """Every kind by name, on one connection."""
    reports = Reports(shares)
    looks = Looks(arm, reports, time.monotonic, period=0.8 * arm.settings.resync)
    made: list[External] = [
        ResourceGroup(arm, owner_of),
        LogAnalyticsWorkspace(arm, owner_of),
        StorageAccount(arm, owner_of),
        FileShare(arm, owner_of),
        ManagedEnvironment(arm, owner_of),
        EnvironmentStorage(arm, owner_of, shares),
        PublishedFolder(shares),
        Job(arm, owner_of, shares),
        AdapterCatalogue(shares, reports),
        ContainerApp(arm, owner_of, looks),
    ]
    return {kind.name: kind for kind in made}
