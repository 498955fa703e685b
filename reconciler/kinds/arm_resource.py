"""The shape all ARM kinds share: find by one shared list, check ownership, compare owned fields,
write once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic
from urllib.parse import quote

from typing_extensions import TypeVar

from reconciler.api import tags
from reconciler.api.conditions import ConditionType, Status
from reconciler.api.kinds import Kind
from reconciler.api.outputs import ResourceOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import ResourceSpec
from reconciler.arm import ids, operations, ownership
from reconciler.arm.faults import fault_of_operation
from reconciler.engine.diff import diff
from reconciler.engine.errors import NotOwned, TerminalError
from reconciler.engine.external import (
    REPAIR,
    Change,
    Desired,
    Facts,
    Identity,
    LastWrite,
    Mark,
    Observation,
    Operation,
    Origin,
    Progress,
    Wrote,
)
from reconciler.engine.rules import Rules
from reconciler.kinds.comparison import with_common
from reconciler.kinds.connections import Connections

UNWELL = frozenset({"failed", "canceled"})
SETTLED = frozenset({"succeeded", "failed", "canceled", ""})


Spec = TypeVar("Spec", bound=ResourceSpec)
Next = TypeVar("Next", default=object)


class ArmResource(Generic[Spec, Next]):
    """A kind whose object is one ARM resource. Subclasses name the kind, and issue the writes."""

    name: Kind
    rules: ClassVar[Rules] = with_common()
    immutable: ClassVar[tuple[str, ...]] = ("location",)
    failed: ClassVar[Reason] = Reason.OPERATION_FAILED  # for a resource that Azure calls Failed
    tells_its_end: ClassVar[bool] = False  # whether it shows itself when its creation has ended
    shareable: ClassVar[bool] = False  # whether a document may use another set's, unchanged

    def __init__(self, connections: Connections) -> None:
        self.arm = connections.arm
        self.ownership = connections.ownership

    def scope(self, spec: Spec) -> str:
        """The ARM id of the parent of resources of this kind."""
        return ids.resource_group(self.arm.subscription_id, spec.resource_group)

    async def put(
        self,
        desired: Desired[Spec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> Operation | None:
        """Create, or merge `body` into what was `found`; the operation's token, or None
        when done.
        """
        raise NotImplementedError

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        """Delete what was `found` and is known to be ours; the operation's token, or None when
        gone.
        """
        raise NotImplementedError

    def ready(self, found: Mapping[str, Any]) -> bool:
        return operations.state_of(found) in ("succeeded", "")

    def judged(self, change: Change) -> Change:
        """A change with its effect, where that depends on the values."""
        return change

    def outputs(self, found: Mapping[str, Any]) -> ResourceOutputs:
        return ResourceOutputs(str(found["id"]))

    def identify(self, desired: Desired[Spec]) -> Identity:
        spec = desired.spec
        id_ = f"{self.scope(spec)}/{self.name.listing.path}/{quote(spec.name)}"
        return Identity(desired.key, id_, spec.environment)

    async def observe(self, desired: Desired[Spec], facts: Facts) -> Observation[Next]:
        seen = await self._observe(desired)
        if (seen.changes or not seen.ready) and self.arm.inventory.doubt(self.identify(desired).id):
            seen = await self._observe(desired)
        return seen

    async def _observe(self, desired: Desired[Spec]) -> Observation[Next]:
        spec = desired.spec
        found = await self.find(spec)
        if found is None:
            await self._refuse_rename(spec)
            return Observation(exists=False)
        compared = diff(self._owned(spec, found), found, self.rules)
        changes = tuple(self.judged(change) for change in compared)
        self._refuse_immutable(spec, changes)
        state, marks = operations.state_of(found), self._unwell(spec, found)
        if marks and not changes:
            # Only a write brings it back, even one that changes nothing.
            changes = (
                Change(
                    "provisioningState",
                    state.capitalize(),
                    "Succeeded",
                    REPAIR,
                ),
            )
        return Observation(
            exists=True,
            ready=self.ready(found),
            busy=state not in SETTLED,
            changes=changes,
            outputs=self.outputs(found),
            marks=marks,
            origin=self._origin(spec, found),
            reason=(
                None
                if self.ready(found)
                else (Reason.OPERATION_IN_PROGRESS if state not in SETTLED else self.failed)
            ),
            message=(
                ""
                if self.ready(found)
                else marks[0].message
                if marks
                else f"{self.name} {spec.name} is {state or 'unknown'}"
            ),
            poll_after=1.0 if state not in SETTLED else None,
            last_write=last_write(found),
        )

    def _unwell(self, spec: Spec, found: Mapping[str, Any]) -> tuple[Mark, ...]:
        """What Azure says about a resource in state Failed or Canceled; nothing otherwise."""
        state = operations.state_of(found)
        if state not in UNWELL:
            return ()
        message = f"{self.name} {spec.name} is {state}: {fault_of_operation(found).message}"
        return (Mark(ConditionType.PROVISIONED, Status.FALSE, self.failed, message),)

    async def find(self, spec: Spec) -> Mapping[str, Any] | None:
        """The resource as Azure has it now, at most two seconds old."""
        return await self.arm.inventory.look(self.name, self.scope(spec), spec.name)

    async def create(self, desired: Desired[Spec], facts: Facts) -> Wrote:
        body = dict(desired.spec.body)
        if "tags" in body:
            body["tags"] = {**body["tags"], **ownership.applied()}
        operation = await self.put(desired, body, None, facts)
        self.arm.inventory.made(self.identify(desired).id)
        return Wrote(f"create {self.name} {desired.spec.name}", operation)

    async def update(
        self, desired: Desired[Spec], observed: Observation[Next], facts: Facts
    ) -> Wrote:
        spec = desired.spec
        found = await self.arm.inventory.get(self.name, self.scope(spec), spec.name)
        body = dict(self._owned(spec, found))
        if "tags" in body:
            wanted = body["tags"]
            if found is None or self.is_ours(found, spec.environment):
                wanted = {**wanted, **ownership.applied()}
            body["tags"] = tags.merged((found or {}).get("tags"), wanted)
        operation = await self.put(desired, body, found, facts)
        return Wrote(
            f"update {self.name} {spec.name}: "
            + ", ".join(change.path for change in observed.changes),
            operation,
        )

    async def exists(self, identity: Identity) -> bool:
        return await self._get(identity) is not None

    async def delete(self, identity: Identity) -> Wrote | None:
        """Delete only what this set made; an adopted or another set's resource stays."""
        found = await self._get(identity)
        if found is None:
            return None
        if not self.may_delete(found, identity.scope):
            return Wrote(
                f"{self.name} {ids.name(identity.id)} stays: these documents did not make it"
            )
        operation = await self.remove(identity, found)
        return Wrote(f"delete {self.name} {ids.name(identity.id)}", operation)

    async def poll(self, identity: Identity, operation: str) -> Progress:
        version = self.name.listing.api_version if self.tells_its_end else ""
        return await operations.poll(self.arm, operation, identity.id, version)

    async def _get(self, identity: Identity) -> Mapping[str, Any] | None:
        return await self.arm.get_json(identity.id, self.name.listing.api_version)

    def is_ours(self, found: Mapping[str, Any], environment: str) -> bool:
        """Whether Moorage made it, for that Environment; by what Azure says and nothing else."""
        return self.ownership.owns(found)

    def may_delete(self, found: Mapping[str, Any], environment: str) -> bool:
        """Whether this set made it. A set may write to more than it may delete. A resource that
        another Environment names too carries the tag of that Environment.
        """
        owner = self.owner_of(found)
        by_another = self.ownership.made_by_another(owner)
        alone = tags.tag(owner, tags.ENVIRONMENT) in (None, environment)
        return self.is_ours(found, environment) and not by_another and alone

    def owner_of(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """The resource that carries the owner's tag: this one, unless it can have no tags."""
        return found

    def _origin(self, spec: Spec, found: Mapping[str, Any]) -> Origin:
        return Origin.OURS if self.is_ours(found, spec.environment) else Origin.ADOPTED

    def _owned(self, spec: Spec, found: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The fields that we own: all of our body on our own resource, only what the document sets
        on one that existed before, nothing on another set's that may be shared.

        Raises:
            NotOwned: it is another set's, or it has no owner and no document names it.
        """
        if found is None or self.is_ours(found, spec.environment):
            return spec.body
        if spec.named and self.shareable and self.ownership.another(found):
            return {}
        self.ownership.refuse_another(f"{self.name} {spec.name}", found)
        if spec.named:
            return spec.asked
        raise NotOwned(
            Reason.NOT_OWNED,
            f"{self.name} {spec.name} exists and is not Moorage's; name it in the Environment"
            " document to adopt it, or choose another name",
        )

    def _refuse_immutable(self, spec: ResourceSpec, changes: tuple[Change, ...]) -> None:
        fixed = [change for change in changes if change.path in self.immutable]
        if fixed:
            raise TerminalError(
                Reason.IMMUTABLE_FIELD,
                f"{self.name} {spec.name}: Azure cannot change {'; '.join(map(str, fixed))}. "
                "Put the old value back, or delete first.",
            )

    async def _refuse_rename(self, spec: Spec) -> None:
        """Raise if a resource of ours for the same Environment has another name: the document
        renamed it, which Azure cannot do.
        """
        if not self.name.tagged or self.name == Kind.APP:
            return
        if self.arm.inventory.holds_none(self.name, self.scope(spec)):
            return
        for other in await self.arm.inventory.list(self.name, self.scope(spec)):
            if (
                self.is_ours(other, spec.environment)
                and tags.tag(other, tags.ENVIRONMENT) == spec.environment
            ):
                raise TerminalError(
                    Reason.ENVIRONMENT_IMMUTABLE,
                    f"the document names {self.name} {spec.name!r}, but Environment"
                    f" {spec.environment!r} already has {other.get('name')!r}; Azure cannot rename"
                    " it. Put the old name back, or delete the Environment first.",
                )


def last_write(found: Mapping[str, Any]) -> LastWrite | None:
    """Who wrote to the resource last. Azure does not say so for accounts, workspaces and groups."""
    data = found.get("systemData") or {}
    by, at = data.get("lastModifiedBy"), data.get("lastModifiedAt")
    kind = str(data.get("lastModifiedByType") or "")
    return LastWrite(str(by), str(at), kind) if by and at else None
