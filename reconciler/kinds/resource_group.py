"""Microsoft.Resources/resourceGroups: what everything else lives in. Never deleted while anything
is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.api.reasons import Reason
from reconciler.api.resources import ResourceSpec
from reconciler.arm import ids, resources
from reconciler.engine.errors import WaitingForHuman
from reconciler.engine.external import Desired, Facts, Identity, Operation
from reconciler.kinds.arm_resource import ArmResource


class ResourceGroup(ArmResource[ResourceSpec]):
    """Synchronous in ARM; tags are replaced whole by a PUT, so they are merged before."""

    name = Kind.RESOURCE_GROUP
    shareable = True

    def scope(self, spec: ResourceSpec) -> str:
        return ids.subscription(self.arm.subscription_id)

    async def put(
        self,
        desired: Desired[ResourceSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> Operation | None:
        kept = {"location": found["location"], "tags": found.get("tags") or {}} if found else {}
        await resources.put_resource_group(self.arm, desired.spec.name, {**kept, **body})
        return None

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        group = ids.name(identity.id)
        left = await resources.list_in_group(self.arm, group)
        if left:
            names = ", ".join(sorted(str(each.get("name")) for each in left))
            raise WaitingForHuman(
                Reason.AWAITING_APPROVAL, f"resource group {group} still holds {names}"
            )
        return await resources.delete_resource_group(self.arm, group)
