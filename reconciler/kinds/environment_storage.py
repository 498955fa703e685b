"""Microsoft.App/managedEnvironments/storages: the share, registered so that apps can mount it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.api.resources import EnvironmentStorageSpec, ShareRef
from reconciler.arm import environments, ids, storage
from reconciler.arm.clients import Arm
from reconciler.arm.inventory import Type
from reconciler.arm.sharedkey import key_fingerprint
from reconciler.engine.external import Change, Desired, Facts, ObjectKey, Observation
from reconciler.kinds.arm_resource import ArmResource, OwnerOf
from reconciler.kinds.shares import Shares


class EnvironmentStorage(ArmResource):
    """Azure lets only the key change and never shows it: a fingerprint of the key that was written stands for it."""

    name = "EnvironmentStorage"
    type = Type.ENVIRONMENT_STORAGE
    immutable = tuple(f"properties.azureFile.{field}" for field in ("accountName", "shareName", "accessMode"))
    taggable = False

    def __init__(self, arm: Arm, owner_of: OwnerOf, shares: Shares) -> None:
        super().__init__(arm, owner_of)
        self.shares = shares
        self._written: dict[ObjectKey, str] = {}  # fingerprints of keys written by this process; the store has earlier ones

    def scope(self, spec: Any) -> str:
        return ids.environment(self.arm.subscription_id, spec.resource_group, spec.managed_environment)

    async def observe(self, desired: Desired, facts: Facts) -> Observation:
        seen = await super().observe(desired, facts)
        if not seen.exists:
            return seen
        written = self._written.get(desired.key) or facts.last(desired.key).get("keyFingerprint")
        current = await self._share_key(desired.spec)
        if written is not None and written != current:
            changed = Change("properties.azureFile.accountKey", "(secret)", "(secret)")
            seen = replace(seen, changes=(*seen.changes, changed))
        return replace(seen, outputs={**seen.outputs, "keyFingerprint": written or current})

    def _owned(self, spec: Any, found: Mapping[str, Any] | None) -> Mapping[str, Any]:
        if not _adopted(spec, found):
            return super()._owned(spec, found)
        file = {name: value for name, value in spec.body["properties"]["azureFile"].items() if name != "accessMode"}
        return {"properties": {"azureFile": file}}

    def is_ours(self, spec: Any, found: Mapping[str, Any]) -> bool:
        return not _adopted(spec, found)

    async def put(self, desired: Desired, body: Mapping[str, Any], found: Mapping[str, Any] | None, facts: Facts) -> str | None:
        spec = desired.spec
        key = (await storage.storage_keys(self.arm, spec.resource_group, spec.account))[0]
        write = creation(body, key)
        await environments.put_env_storage(self.arm, spec.resource_group, spec.managed_environment, spec.name, write)
        self._written[desired.key] = key_fingerprint(key)
        return None

    async def remove(self, desired: Desired) -> str | None:
        spec = desired.spec
        return await environments.delete_env_storage(self.arm, spec.resource_group, spec.managed_environment, spec.name)

    async def _share_key(self, spec: EnvironmentStorageSpec) -> str:
        """The fingerprint of the account's key as our own connection to the share uses it: asking ARM for the keys at every
        look would be a call each.
        """
        name = spec.body["properties"]["azureFile"]["shareName"]
        return await self.shares.open(ShareRef(spec.environment, spec.resource_group, spec.account, name)).fingerprint()


def _adopted(spec: Any, found: Mapping[str, Any] | None) -> bool:
    """A writable storage under a name that the document gives: somebody registered it before, and others mount it. It can
    be read from as well as ours; writable is the one thing that tells it apart, for it has no tags.
    """
    wanted = spec.body.get("properties", {}).get("azureFile", {}).get("accessMode")
    mode = ((found or {}).get("properties", {}).get("azureFile") or {}).get("accessMode")
    return bool(spec.named and wanted == "ReadOnly" and mode == "ReadWrite")


def creation(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What registers the share, with the key that opens it."""
    return {"properties": {"azureFile": {**body["properties"]["azureFile"], "accountKey": key}}}
