"""Writes of resource groups, providers and Log Analytics workspaces. Bodies are ARM JSON; a result
is an operation's token.
"""

from __future__ import annotations

from typing import Any

from reconciler.api import versions
from reconciler.arm import ids, operations
from reconciler.arm.clients import Arm, JsonObject
from reconciler.engine.external import Operation


async def put_resource_group(arm: Arm, name: str, body: JsonObject) -> None:
    scope = ids.resource_group(arm.subscription_id, name)
    await operations.write(arm, scope, arm.begin, "PUT", scope, versions.RESOURCES, body)


async def delete_resource_group(arm: Arm, name: str) -> Operation | None:
    scope = ids.resource_group(arm.subscription_id, name)
    return await operations.delete(arm, scope, arm.begin, "DELETE", scope, versions.RESOURCES)


async def list_in_group(arm: Arm, name: str) -> list[dict[str, Any]]:
    """Everything the group holds, of any type: what deleting it would take along."""
    return await arm.list_json(
        f"{ids.resource_group(arm.subscription_id, name)}/resources", versions.RESOURCES
    )


async def put_workspace(arm: Arm, group: str, name: str, body: JsonObject) -> Operation | None:
    scope = ids.workspace(arm.subscription_id, group, name)
    return await operations.begin(arm, scope, arm.begin, "PUT", scope, versions.LOG_ANALYTICS, body)


async def delete_workspace(arm: Arm, group: str, name: str) -> Operation | None:
    """Without `force`: the workspace stays recoverable for 14 days by creating it again."""
    scope = ids.workspace(arm.subscription_id, group, name)
    return await operations.delete(arm, scope, arm.begin, "DELETE", scope, versions.LOG_ANALYTICS)


async def workspace_shared_key(arm: Arm, group: str, name: str) -> str:
    """The key with which an environment sends its logs to the workspace. A secret."""
    keys = await arm.post_json(
        f"{ids.workspace(arm.subscription_id, group, name)}/sharedKeys", versions.LOG_ANALYTICS
    )
    return str(keys["primarySharedKey"])
