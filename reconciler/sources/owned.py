"""The resources that are ours according to Azure: where services live today, and which resources no
document asks for any more.

Read from tags, never from local state, so that a new machine with the same documents knows as much
as the old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from reconciler.api import tags
from reconciler.api.kinds import Kind
from reconciler.arm import ids
from reconciler.arm.clients import Arm
from reconciler.arm.ownership import Ownership
from reconciler.engine.external import DocumentRef, Gone, Identity, ObjectKey, Origin

_IN_ENVIRONMENTS = (Kind.APP, Kind.JOB)


class Owned(NamedTuple):
    """A resource of ours: its kind, ARM's own JSON, and its tags `document` and `environment`."""

    kind: Kind
    resource: Mapping[str, Any]
    document: DocumentRef
    environment: str

    def marked(self) -> Owned:
        """The same with only the fields of the resource that show its owner: a thousand whole
        resources are 20 MB.
        """
        kept = {name: self.resource.get(name) for name in ("id", "name", "tags")}
        return self._replace(resource=kept)


async def list_owned(arm: Arm, *, data: bool = False) -> list[Owned]:
    """Every resource in the subscription that any set of documents made: four calls, or two where
    there is no managed environment, whosever. With `data` also those that hold data, and their
    resource groups.
    """
    kinds = [kind for kind in Kind if kind.tagged and (data or not kind.holds_data)]
    scope = ids.subscription(arm.subscription_id)

    async def listed(kind: Kind) -> list[dict[str, Any]]:
        if kind in _IN_ENVIRONMENTS and not await environments:
            return []
        if kind is Kind.ENVIRONMENT:
            return await environments
        if kind.few:  # the looks of a resync ask for the same lists
            return await arm.inventory.list_wide(kind, scope)
        return await arm.list_json(f"{scope}/{kind.listing.path}", kind.listing.api_version)

    environments = asyncio.ensure_future(arm.inventory.list_wide(Kind.ENVIRONMENT, scope))
    answers = await asyncio.gather(*map(listed, kinds))
    found = []
    for kind, resources in zip(kinds, answers, strict=True):
        for resource in resources:
            environment, document = tags.tag(resource, tags.ENVIRONMENT), document_of(resource)
            if environment and document:
                found.append(Owned(kind, resource, document, environment))
    return found


def document_of(resource: Mapping[str, Any]) -> DocumentRef | None:
    """The document that the tag names; None for what no set wrote there, which is not deleted."""
    kind, _, name = (tags.tag(resource, tags.DOCUMENT) or "").partition("/")
    return DocumentRef(kind, name) if kind and name else None


def homes(owned: Iterable[Owned], ownership: Ownership) -> dict[str, str]:
    """The Environment of each service's container app; gateways are left out."""
    return {
        each.document.name: each.environment
        for each in owned
        if each.kind == Kind.APP
        and each.document.kind == "InferenceService"
        and ownership.made(each.resource)
    }


def orphans(owned: Iterable[Owned], ownership: Ownership) -> list[Gone]:
    """The resources that this set made, as objects that can be deleted. The loop ignores those that
    a document still asks for.
    """
    return [_orphan(each) for each in owned if ownership.made(each.resource)]


def _orphan(owned: Owned) -> Gone:
    name, refs = _named(owned)
    origin = Origin.ADOPTED if tags.is_adopted(owned.resource) else Origin.OURS
    identity = Identity(
        ObjectKey(owned.kind, name), str(owned.resource["id"]), owned.environment, origin
    )
    return Gone(identity, owned.document, refs)


def _named(owned: Owned) -> tuple[str, tuple[ObjectKey, ...]]:
    """The object's name, and its references."""
    group = ObjectKey(Kind.RESOURCE_GROUP, owned.environment)
    around = (ObjectKey(Kind.ENVIRONMENT, owned.environment), group)
    match owned.kind:
        case Kind.APP:
            return str(owned.resource["name"]), around
        case Kind.JOB:
            return f"{owned.environment}/{owned.resource['name']}", around
        case Kind.RESOURCE_GROUP:
            return owned.environment, ()
        case _:
            return owned.environment, (group,)
