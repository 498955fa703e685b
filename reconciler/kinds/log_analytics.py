"""Microsoft.OperationalInsights/workspaces: where the environment's logs go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.api.outputs import WorkspaceOutputs
from reconciler.api.resources import ResourceSpec
from reconciler.arm import ids, resources
from reconciler.engine.diff import Rules
from reconciler.engine.external import Desired, Facts, Identity
from reconciler.kinds.arm_resource import ArmResource


class LogAnalyticsWorkspace(ArmResource[ResourceSpec]):
    """Gives the managed environment its customer id. A deleted one is recoverable for 14 days by
    creating it again.
    """

    name = Kind.WORKSPACE
    shareable = True
    rules = Rules(ignore_case=("location", "properties.sku"))

    def outputs(self, found: Mapping[str, Any]) -> WorkspaceOutputs:
        return WorkspaceOutputs(str(found["id"]), found["properties"].get("customerId"))

    async def put(
        self,
        desired: Desired[ResourceSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> str | None:
        spec = desired.spec
        base = {"location": found["location"], "tags": found.get("tags") or {}} if found else {}
        return await resources.put_workspace(
            self.arm, spec.resource_group, spec.name, {**base, **body}
        )

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> str | None:
        return await resources.delete_workspace(
            self.arm, ids.part(identity.id, "resourceGroups"), ids.name(identity.id)
        )
