"""Microsoft.Storage/storageAccounts/fileServices/shares: models, adapters, code and catalogues.
Data-bearing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api import tags
from reconciler.api.kinds import Kind
from reconciler.api.reasons import Reason
from reconciler.api.resources import SHARE_ENVIRONMENT, ShareRef, ShareSpec
from reconciler.arm import ids, storage
from reconciler.engine.errors import TerminalError
from reconciler.engine.external import Desired, Facts, Identity, Observation, Operation
from reconciler.kinds.arm_resource import ArmResource
from reconciler.kinds.comparison import with_common
from reconciler.kinds.connections import Connections

RULES = with_common(
    literal=("properties.metadata",),
    lists={"properties.signedIdentifiers": "id"},
    whole=("properties.signedIdentifiers",),
    ignore_case=(
        "properties.accessTier",
        "properties.enabledProtocols",
        "properties.rootSquash",
    ),
    read_only=tuple(
        f"properties.{name}"
        for name in (
            "lastModifiedTime",
            "version",
            "deleted",
            "deletedTime",
            "remainingRetentionDays",
            "accessTierChangeTime",
            "accessTierStatus",
            "shareUsageBytes",
            "leaseStatus",
            "leaseState",
            "leaseDuration",
            "snapshotTime",
            "includedBurstIops",
            "maxBurstCreditsForIops",
            "nextAllowedQuotaDowngradeTime",
            "nextAllowedProvisionedIopsDowngradeTime",
            "nextAllowedProvisionedBandwidthDowngradeTime",
        )
    ),
    defaults={
        "properties.accessTier": "TransactionOptimized",
        "properties.enabledProtocols": "SMB",
        "properties.rootSquash": "NoRootSquash",
    },
    varying=("properties.accessTier",),  # by the account's SKU
)


class FileShare(ArmResource[ShareSpec]):
    """A share has no tags; it belongs to whom its account belongs to."""

    name = Kind.SHARE
    rules = RULES
    immutable = ()

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.shares = connections.shares

    def scope(self, spec: ShareSpec) -> str:
        return ids.storage_account(self.arm.subscription_id, spec.resource_group, spec.account)

    def is_ours(self, found: Mapping[str, Any], environment: str) -> bool:
        """Decided by the share's metadata, which says who made it. A share that a document only
        names may hold the data of others.
        """
        metadata = found["properties"].get("metadata") or {}
        return SHARE_ENVIRONMENT in metadata and self.ownership.owns(self.owner_of(found))

    def owner_of(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        return tags.of_share(found)

    def _owned(self, spec: ShareSpec, found: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """A share that the document names and that was there before keeps its quota, unless the
        document sets one.
        """
        if found is not None and not self.is_ours(found, spec.environment):
            self.ownership.refuse_another(f"{self.name} {spec.name}", tags.of_share(found))
        adopted = found is not None and spec.named and not self.is_ours(found, spec.environment)
        return spec.asked if adopted else spec.body

    async def observe(self, desired: Desired[ShareSpec], facts: Facts) -> Observation:
        seen = await super().observe(desired, facts)
        if seen.exists:
            self._found(desired.spec)
        return seen

    async def put(
        self,
        desired: Desired[ShareSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> Operation | None:
        spec = desired.spec
        if found is None:  # the earlier share is gone with everything that was published on it
            self.shares.rounds.forget_below("")
        write = storage.put_share if found is None else storage.patch_share
        await write(self.arm, spec.resource_group, spec.account, spec.name, body)
        self._found(spec)
        return None

    def _found(self, spec: ShareSpec) -> None:
        """Tell the edge of the lease that the share exists; before that there is no lease to
        acquire.
        """
        ref = ShareRef(spec.environment, spec.resource_group, spec.account, spec.name)
        self.shares.open(ref).found.set()

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        return await storage.delete_share(
            self.arm,
            ids.part(identity.id, "resourceGroups"),
            ids.part(identity.id, "storageAccounts"),
            ids.name(identity.id),
        )

    async def _refuse_rename(self, spec: ShareSpec) -> None:
        """A share marked for the same Environment under another name means that the document
        renamed it: models, adapters and history are there, and the environment storages cannot
        follow.
        """
        if self.arm.inventory.holds_none(self.name, self.scope(spec)):
            return
        for other in await self.arm.inventory.list(self.name, self.scope(spec)):
            metadata = other["properties"].get("metadata") or {}
            mine = self.ownership.owns(tags.of_share(other))
            if mine and metadata.get(SHARE_ENVIRONMENT) == spec.environment:
                raise TerminalError(
                    Reason.ENVIRONMENT_IMMUTABLE,
                    f"the document names share {spec.name!r}, but Environment {spec.environment!r}"
                    f" has its data on {other.get('name')!r}; put the old name back.",
                )
