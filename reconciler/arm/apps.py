"""Writes and actions of container apps and their revisions. Bodies are ARM JSON; a result is an
operation's token.

Revisions and replicas are read through `arm.inventory`; console output through `arm.logs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.api import versions
from reconciler.arm import ids, operations
from reconciler.arm.clients import Arm, JsonObject
from reconciler.arm.inventory import Part
from reconciler.engine.external import Operation

RETAINED = 10  # revisions of an app whose files stay on the share, for a rollback


async def put_app(arm: Arm, group: str, name: str, body: JsonObject) -> Operation | None:
    """Create or replace. What the body leaves out is removed, and secrets must come with their
    values.
    """
    scope = ids.app(arm.subscription_id, group, name)
    return await operations.begin(
        arm, scope, arm.apps.container_apps.begin_create_or_update, group, name, body
    )


async def patch_app(arm: Arm, group: str, name: str, body: JsonObject) -> Operation | None:
    """JSON merge patch: absent is kept, null deletes, a list is replaced whole."""
    scope = ids.app(arm.subscription_id, group, name)
    return await operations.begin(
        arm, scope, arm.apps.container_apps.begin_update, group, name, body
    )


async def delete_app(arm: Arm, group: str, name: str) -> Operation | None:
    scope = ids.app(arm.subscription_id, group, name)
    return await operations.delete(arm, scope, arm.apps.container_apps.begin_delete, group, name)


async def list_secrets(arm: Arm, group: str, name: str) -> dict[str, str]:
    """Secret values by name; those that live in a Key Vault have none and are left out."""
    answer = await arm.post_json(
        f"{ids.app(arm.subscription_id, group, name)}/listSecrets", versions.APP
    )
    return {
        each["name"]: each["value"]
        for each in (answer or {}).get("value") or []
        if each.get("value") is not None
    }


async def list_revisions(arm: Arm, group: str, name: str) -> list[dict[str, Any]]:
    """All revisions, oldest first; the read is shared and at most two seconds old."""
    return await arm.inventory.list(Part.REVISION, ids.app(arm.subscription_id, group, name))


async def list_replicas(arm: Arm, group: str, name: str, revision: str) -> list[dict[str, Any]]:
    """The replicas of one revision; the read is shared and at most two seconds old."""
    return await arm.inventory.list(
        Part.REPLICA, ids.revision(arm.subscription_id, group, name, revision)
    )


def environment_of(found: Mapping[str, Any]) -> str:
    """The id of the managed environment that an app or a job runs in; empty when it says none."""
    properties = found["properties"]
    return str(properties.get("environmentId") or properties.get("managedEnvironmentId") or "")


async def templates_in_use(
    arm: Arm, found: Mapping[str, Any], retained: int = 0
) -> list[Mapping[str, Any]]:
    """The template of an app or a job, those of an app's revisions that are still active, and those
    of its newest `retained`.
    """
    holders = [found["properties"]]
    if ids.part(str(found["id"]), "containerApps"):
        listed = await arm.inventory.list(Part.REVISION, str(found["id"]))
        holders += kept([each["properties"] for each in listed], retained)
    return [holder.get("template") or {} for holder in holders]


def kept(revisions: Iterable[Mapping[str, Any]], retained: int) -> list[Mapping[str, Any]]:
    """Of the properties of revisions those that are active, and the newest `retained`."""
    newest = sorted(revisions, key=lambda each: str(each.get("createdTime")), reverse=True)
    return [each for place, each in enumerate(newest) if each.get("active") or place < retained]


async def activate_revision(arm: Arm, group: str, name: str, revision: str) -> None:
    scope = ids.app(arm.subscription_id, group, name)
    await operations.write(
        arm, scope, arm.apps.container_apps_revisions.activate_revision, group, name, revision
    )


async def deactivate_revision(arm: Arm, group: str, name: str, revision: str) -> None:
    scope = ids.app(arm.subscription_id, group, name)
    await operations.write(
        arm, scope, arm.apps.container_apps_revisions.deactivate_revision, group, name, revision
    )


async def restart_revision(arm: Arm, group: str, name: str, revision: str) -> None:
    """Restart all replicas of a revision; no new revision comes of it."""
    scope = ids.app(arm.subscription_id, group, name)
    await operations.write(
        arm, scope, arm.apps.container_apps_revisions.restart_revision, group, name, revision
    )
