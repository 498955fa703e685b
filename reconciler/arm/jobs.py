"""Writes of container-apps jobs. Bodies are ARM JSON, results tokens of operations. Executions are
read through `inventory`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api import versions
from reconciler.arm import ids, operations
from reconciler.arm.clients import Arm, JsonObject
from reconciler.engine.external import Operation


async def put_job(arm: Arm, group: str, name: str, body: JsonObject) -> Operation | None:
    """Create or replace. Secrets must come with their values."""
    return await operations.begin(
        arm,
        ids.job(arm.subscription_id, group, name),
        arm.apps.jobs.begin_create_or_update,
        group,
        name,
        body,
    )


async def start_job(arm: Arm, group: str, name: str) -> Operation | None:
    """Begin an execution; the token is of its beginning, not of its end."""
    return await operations.begin(
        arm, ids.job(arm.subscription_id, group, name), arm.apps.jobs.begin_start, group, name
    )


async def list_replicas(
    arm: Arm, group: str, name: str, execution: str
) -> Sequence[Mapping[str, Any]]:
    """The replicas of an execution, also of one that has ended."""
    return await arm.list_json(
        f"{ids.execution(arm.subscription_id, group, name, execution)}/replicas", versions.APP
    )


async def delete_job(arm: Arm, group: str, name: str) -> Operation | None:
    """Ends executions, too."""
    return await operations.delete(
        arm, ids.job(arm.subscription_id, group, name), arm.apps.jobs.begin_delete, group, name
    )
