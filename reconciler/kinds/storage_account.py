"""Microsoft.Storage/storageAccounts: holds the share. Data-bearing: kept when its document goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.api.resources import ResourceSpec
from reconciler.arm import ids, storage
from reconciler.engine.diff import Rules
from reconciler.engine.external import Desired, Facts, Identity
from reconciler.kinds.arm_resource import ArmResource


class StorageAccount(ArmResource[ResourceSpec]):
    """The PUT of an existing account answers at once; creating one takes a while and its keys are
    refused until then.
    """

    name = Kind.STORAGE_ACCOUNT
    rules = Rules(ignore_case=("location",), effects={"sku.name": "replace"})
    immutable = ("location", "kind")

    async def put(
        self,
        desired: Desired[ResourceSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> str | None:
        spec = desired.spec
        if found is None:
            return await storage.put_storage_account(self.arm, spec.resource_group, spec.name, body)
        fields = {name: body[name] for name in ("sku", "tags", "properties") if name in body}
        await storage.patch_storage_account(self.arm, spec.resource_group, spec.name, fields)
        return None

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> str | None:
        return await storage.delete_storage_account(
            self.arm, ids.part(identity.id, "resourceGroups"), ids.name(identity.id)
        )
