"""What Azure says is ours: where services live today, and resources of ours that no document asks
for any more.

Read from tags, never from local state, so that a new machine with the same documents knows as much
as the old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from reconciler.api.resources import ContainerAppSpec, JobSpec, ResourceSpec
from reconciler.arm import ids, tags, versions
from reconciler.arm.clients import Arm
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Origin


class Owned(NamedTuple):
    """A resource of ours: the kind Moorage calls it, ARM's own JSON, and the tags that matter."""

    kind: str
    resource: Mapping[str, Any]
    document: DocumentRef
    environment: str


_LISTS = (
    ("ContainerApp", "providers/Microsoft.App/containerApps", versions.APP),
    ("Job", "providers/Microsoft.App/jobs", versions.APP),
    ("ManagedEnvironment", "providers/Microsoft.App/managedEnvironments", versions.APP),
    (
        "LogAnalyticsWorkspace",
        "providers/Microsoft.OperationalInsights/workspaces",
        versions.LOG_ANALYTICS,
    ),
)
_WITH_DATA = (
    ("StorageAccount", "providers/Microsoft.Storage/storageAccounts", versions.STORAGE),
    ("ResourceGroup", "resourcegroups", versions.RESOURCES),
)


async def list_owned(arm: Arm, *, data: bool = False) -> list[Owned]:
    """Every tagged resource in the subscription that this owner may delete: four calls. With `data`
    also what holds data, and the resource groups around it.
    """
    lists = (*_LISTS, *(_WITH_DATA if data else ()))
    scope = ids.subscription(arm.subscription_id)
    answers = await asyncio.gather(
        *(arm.list_json(f"{scope}/{below}", version) for _, below, version in lists)
    )
    found = []
    for (kind, _, _), resources in zip(lists, answers, strict=True):
        for resource in resources:
            environment, document = (
                tags.tag(resource, tags.ENVIRONMENT),
                tags.tag(resource, tags.DOCUMENT),
            )
            if (
                environment
                and document
                and tags.is_ours(resource, arm.settings.owner_of(environment))
            ):
                found.append(
                    Owned(kind, resource, DocumentRef(*document.split("/", 1)), environment)
                )
    return found


def homes(owned: Iterable[Owned]) -> dict[str, str]:
    """In which Environment each service's container app lives."""
    return {each.document.name: each.environment for each in owned if each.kind == "ContainerApp"}


def orphans(owned: Iterable[Owned]) -> list[Desired]:
    """The resources as objects that can be deleted; the loop leaves out what documents still ask
    for.
    """
    return [_orphan(each) for each in owned]


def _orphan(owned: Owned) -> Desired:
    group = str(owned.resource["id"]).split("/")[4]
    around = (
        () if owned.kind == "ResourceGroup" else (ObjectKey("ResourceGroup", owned.environment),)
    )
    azure_name = str(owned.resource["name"])
    environment = ObjectKey("ManagedEnvironment", owned.environment)
    if owned.kind == "ContainerApp":
        name = owned.document.name
        spec = ContainerAppSpec(
            azure_name, group, owned.environment, {}, service=name, template={"scale": {}}
        )
        origin = Origin.ADOPTED if tags.is_adopted(owned.resource) else Origin.OURS
        return Desired(
            ObjectKey("ContainerApp", name),
            owned.document,
            spec,
            (environment, *around),
            origin=origin,
        )
    if owned.kind == "Job":
        job = JobSpec(azure_name, group, owned.environment, {})
        return Desired(
            ObjectKey("Job", f"{owned.environment}/{azure_name}"),
            owned.document,
            job,
            (environment, *around),
        )
    plain = ResourceSpec(azure_name, group, owned.environment, {})
    return Desired(ObjectKey(owned.kind, owned.environment), owned.document, plain, around)
