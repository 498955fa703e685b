"""Writes of managed environments and their storages. Bodies are ARM JSON; a result is an
operation's token.
"""

from __future__ import annotations

from typing import Any

from reconciler.api import versions
from reconciler.arm import ids, operations
from reconciler.arm.clients import Arm, JsonObject
from reconciler.engine.external import Operation


async def put_environment(arm: Arm, group: str, name: str, body: JsonObject) -> Operation | None:
    scope = ids.environment(arm.subscription_id, group, name)
    return await operations.begin(
        arm, scope, arm.apps.managed_environments.begin_create_or_update, group, name, body
    )


async def patch_environment(arm: Arm, group: str, name: str, body: JsonObject) -> Operation | None:
    """Azure replaces `workloadProfiles` as a whole: send the full list."""
    scope = ids.environment(arm.subscription_id, group, name)
    return await operations.begin(
        arm, scope, arm.apps.managed_environments.begin_update, group, name, body
    )


async def delete_environment(arm: Arm, group: str, name: str) -> Operation | None:
    scope = ids.environment(arm.subscription_id, group, name)
    return await operations.delete(
        arm, scope, arm.apps.managed_environments.begin_delete, group, name
    )


async def put_env_storage(
    arm: Arm, group: str, environment: str, name: str, body: JsonObject
) -> None:
    """Of an existing storage only the account key can change."""
    scope = ids.environment_storage(arm.subscription_id, group, environment, name)
    await operations.write(
        arm,
        scope,
        arm.apps.managed_environments_storages.create_or_update,
        group,
        environment,
        name,
        body,
    )


async def delete_env_storage(arm: Arm, group: str, environment: str, name: str) -> Operation | None:
    scope = ids.environment_storage(arm.subscription_id, group, environment, name)
    return await operations.delete(
        arm, scope, arm.apps.managed_environments_storages.delete, group, environment, name
    )


async def environment_usages(arm: Arm, group: str, name: str) -> list[dict[str, Any]]:
    """`[{"name": {"value"}, "currentValue", "limit", "unit"}]` of one environment."""
    return await arm.list_json(
        f"{ids.environment(arm.subscription_id, group, name)}/usages", versions.APP
    )


async def location_usages(arm: Arm, location: str) -> list[dict[str, Any]]:
    """The same for the subscription in a region: where GPU quota is found."""
    subscription = ids.subscription(arm.subscription_id)
    path = f"{subscription}/providers/Microsoft.App/locations/{location}/usages"
    return await arm.list_json(path, versions.APP)
