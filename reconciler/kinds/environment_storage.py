"""Microsoft.App/managedEnvironments/storages: the share, registered so that apps can mount it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from reconciler.api.kinds import Kind
from reconciler.api.outputs import StorageOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import EnvironmentStorageSpec, ShareRef
from reconciler.arm import apps, environments, ids, mountkeys, storage
from reconciler.arm.share import Share
from reconciler.arm.sharedkey import key_fingerprint
from reconciler.engine.errors import NotReadyYet, ReconcileError
from reconciler.engine.external import (
    Change,
    Desired,
    Facts,
    Identity,
    ObjectKey,
    Observation,
    Operation,
    Wrote,
)
from reconciler.kinds.arm_resource import ArmResource
from reconciler.kinds.comparison import with_common
from reconciler.kinds.connections import Connections

IN_USE = 10.0  # seconds between checks of who still mounts a storage that is to be deleted


class EnvironmentStorage(ArmResource[EnvironmentStorageSpec]):
    """Azure lets only the key change and never shows it. So we keep two fingerprints: of the key it
    holds now, and of the key it was made with, by which `registrations` decides to move on to
    another name.
    """

    name = Kind.STORAGE
    rules = with_common(
        ignore_case=("properties.azureFile.accessMode", "properties.nfsAzureFile.accessMode"),
        write_only=("properties.azureFile.accountKey",),
    )
    immutable = tuple(
        f"properties.azureFile.{field}" for field in ("accountName", "shareName", "accessMode")
    )

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.shares = connections.shares
        self._written: dict[
            ObjectKey, str
        ] = {}  # fingerprints of keys written by this process; the store has earlier ones
        self._noted: dict[ObjectKey, str] = {}  # of the keys that this process made them with

    def scope(self, spec: EnvironmentStorageSpec) -> str:
        return ids.environment(
            self.arm.subscription_id, spec.resource_group, spec.managed_environment
        )

    async def observe(self, desired: Desired[EnvironmentStorageSpec], facts: Facts) -> Observation:
        seen = await super().observe(desired, facts)
        if not seen.exists:
            return seen
        spec, last = desired.spec, facts.last(desired.key, StorageOutputs) or StorageOutputs()
        current = await self._share(spec).fingerprint()
        noted = last.registered_with or self._noted.get(desired.key)
        made_with = noted or await self._recall(spec) or current
        holds = self._written.get(desired.key) or last.key_fingerprint or made_with
        if holds != current and not _adopted(spec, await self.find(spec)):
            changed = Change("properties.azureFile.accountKey", "(secret)", "(secret)")
            seen = replace(seen, changes=(*seen.changes, changed))
        return replace(seen, outputs=StorageOutputs(self.identify(desired).id, holds, made_with))

    def _owned(
        self, spec: EnvironmentStorageSpec, found: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        if not _adopted(spec, found):
            return spec.body
        file = {
            name: value
            for name, value in spec.body["properties"]["azureFile"].items()
            if name != "accessMode"
        }
        return {"properties": {"azureFile": file}}

    def is_ours(self, found: Mapping[str, Any], environment: str) -> bool:
        return True  # it has no tags; `delete` knows what is not ours

    async def delete(self, identity: Identity) -> Wrote | None:
        """Delete it only if this set made it. A writable storage where ours is read-only was
        registered by somebody else, and another set's environment has only that set's storages.
        """
        found = await self._get(identity)
        mode = identity.key.name.partition("/")[2]
        theirs = mode.startswith("read") and _access(found) == "ReadWrite"
        place = identity.id.rpartition("/storages/")[0]
        around = await self.arm.get_json(place, Kind.ENVIRONMENT.listing.api_version)
        if found is not None and (theirs or self.ownership.made_by_another(around)):
            name = ids.name(identity.id)
            return Wrote(f"{self.name} {name} stays: these documents did not make it")
        return await super().delete(identity)

    async def put(
        self,
        desired: Desired[EnvironmentStorageSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> Operation | None:
        spec = desired.spec
        share = self._share(spec)
        key = (
            share.proven_key()
            or (await storage.storage_keys(self.arm, spec.resource_group, spec.account))[0]
        )
        if found is None:
            # Before the storage is made, so that a daemon that dies in between does not forget it.
            fingerprint, new = key_fingerprint(key), self.arm.inventory.is_new(self.scope(spec))
            # Into a new managed environment nobody else registers a share: all names at once.
            made = dict.fromkeys(spec.together if new else (spec.name,), fingerprint)
            await mountkeys.note(share, spec.managed_environment, made, new=new)
            self._noted[desired.key] = fingerprint
        await self._write(self.identify(desired), creation(body, key), key)
        return None

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        """Delete it once nobody mounts it any more. Until then it gets the present key, so that new
        replicas of its users have the best chance to mount it.
        """
        name, file = ids.name(identity.id), found["properties"]["azureFile"]
        group = ids.part(identity.id, "resourceGroups")
        environment = ids.part(identity.id, "managedEnvironments")
        account = str(file["accountName"])
        share = self.shares.open(ShareRef(identity.scope, group, account, str(file["shareName"])))
        if users := await self._users(identity.id):
            if self._written.get(identity.key) != await share.fingerprint():
                key = (await storage.storage_keys(self.arm, group, account))[0]
                await self._write(identity, creation(found, key), key)
            message = f"{name} is deleted once {', '.join(users)} no longer mounts it"
            raise NotReadyYet(Reason.STORAGE_IN_USE, message, after=IN_USE)
        operation = await environments.delete_env_storage(self.arm, group, environment, name)
        with suppress(ReconcileError):  # the share may be gone as well
            await mountkeys.forget(share, environment, name)
        return operation

    async def _write(self, identity: Identity, write: Mapping[str, Any], key: str) -> None:
        await environments.put_env_storage(
            self.arm,
            ids.part(identity.id, "resourceGroups"),
            ids.part(identity.id, "managedEnvironments"),
            ids.name(identity.id),
            write,
        )
        self._written[identity.key] = key_fingerprint(key)

    async def _users(self, storage_id: str) -> list[str]:
        """Apps and jobs of the resource group that mount it: in their template, or in a revision
        that is still active.
        """
        environment, _, name = storage_id.rpartition("/storages/")
        group = ids.resource_group(self.arm.subscription_id, ids.part(storage_id, "resourceGroups"))
        find = self.arm.inventory.list
        return [
            str(each["name"])
            for each in [*await find(Kind.APP, group), *await find(Kind.JOB, group)]
            if ids.same(apps.environment_of(each), environment)
            and any(
                _mounts(template, unquote(name))
                for template in await apps.templates_in_use(self.arm, each)
            )
        ]

    async def _recall(self, spec: EnvironmentStorageSpec) -> str | None:
        return await mountkeys.recall(self._share(spec), spec.managed_environment, spec.name)

    def _share(self, spec: EnvironmentStorageSpec) -> Share:
        """The share. Its fingerprint is that of the key that our own connection to it uses, because
        asking ARM for the keys at every look would cost a call each.
        """
        name = spec.body["properties"]["azureFile"]["shareName"]
        return self.shares.open(ShareRef(spec.environment, spec.resource_group, spec.account, name))


def _mounts(template: Mapping[str, Any] | None, storage: str) -> bool:
    return any(
        str(volume.get("storageName")).lower() == storage.lower()
        for volume in (template or {}).get("volumes") or ()
    )


def _adopted(spec: EnvironmentStorageSpec, found: Mapping[str, Any] | None) -> bool:
    """Whether it is a writable storage under a name that the document gives: then somebody else
    registered it, and others may mount it. We can read from it as from ours. Being writable is the
    only sign, because storages have no tags.
    """
    wanted = spec.body.get("properties", {}).get("azureFile", {}).get("accessMode")
    return bool(spec.named and wanted == "ReadOnly" and _access(found) == "ReadWrite")


def _access(found: Mapping[str, Any] | None) -> str | None:
    mode: str | None = ((found or {}).get("properties", {}).get("azureFile") or {}).get(
        "accessMode"
    )
    return mode


def creation(body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The body that registers the share, with the account's key."""
    return {"properties": {"azureFile": {**body["properties"]["azureFile"], "accountKey": key}}}
