"""Microsoft.OperationalInsights/workspaces: where the environment's logs go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.api.outputs import WorkspaceOutputs
from reconciler.api.resources import ResourceSpec
from reconciler.arm import ids, resources
from reconciler.engine.external import Desired, Facts, Identity, Operation
from reconciler.engine.sameness import is_same
from reconciler.kinds.arm_resource import ArmResource
from reconciler.kinds.comparison import with_common


def _sku(asked: Any, found: Any) -> Any:
    """Azure sells no workspace as Standalone any more and makes it PerGB2018."""
    old = is_same(asked, "Standalone", ignore_case=True)
    return asked if old and is_same(found, "PerGB2018", ignore_case=True) else found


RULES = with_common(
    ignore_case=(
        "properties.sku",
        "properties.publicNetworkAccessForIngestion",
        "properties.publicNetworkAccessForQuery",
    ),
    read_only=(
        "properties.customerId",
        "properties.createdDate",
        "properties.modifiedDate",
        # Of the first API, and still sent by old templates; Azure keeps none of them.
        "properties.source",
        "properties.portalUrl",
        "properties.sku.tier",
        "properties.sku.lastSkuUpdate",
        "properties.workspaceCapping.quotaNextResetTime",
        "properties.workspaceCapping.dataIngestionStatus",
        "properties.privateLinkScopedResources",
        "properties.features.unifiedSentinelBillingOnly",
        "properties.features.associations",
        "properties.replication.provisioningState",
        "properties.replication.createdDate",
        "properties.replication.lastModifiedDate",
        "properties.failover.state",
        "properties.failover.lastModifiedDate",
    ),
    defaults={
        "properties.sku.name": "PerGB2018",
        "properties.retentionInDays": 30,
        "properties.workspaceCapping.dailyQuotaGb": -1,
        "properties.publicNetworkAccessForIngestion": "Enabled",
        "properties.publicNetworkAccessForQuery": "Enabled",
    },
    rewrites={"properties.sku.name": _sku},
    varying=("properties.retentionInDays",),  # by the SKU
)


class LogAnalyticsWorkspace(ArmResource[ResourceSpec]):
    """Gives the managed environment its customer id. A deleted one is recoverable for 14 days by
    creating it again.
    """

    name = Kind.WORKSPACE
    shareable = True
    rules = RULES

    def outputs(self, found: Mapping[str, Any]) -> WorkspaceOutputs:
        return WorkspaceOutputs(str(found["id"]), found["properties"].get("customerId"))

    async def put(
        self,
        desired: Desired[ResourceSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> Operation | None:
        spec = desired.spec
        base = {"location": found["location"], "tags": found.get("tags") or {}} if found else {}
        return await resources.put_workspace(
            self.arm, spec.resource_group, spec.name, {**base, **body}
        )

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        return await resources.delete_workspace(
            self.arm, ids.part(identity.id, "resourceGroups"), ids.name(identity.id)
        )
