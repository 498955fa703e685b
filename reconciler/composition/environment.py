"""What one Environment document expands to: resource group, workspace, storage, managed
environment, registered shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.api.documents import Environment
from reconciler.api.environment import EnvironmentSpec
from reconciler.api.kinds import Kind
from reconciler.api.resources import (
    SHARE_ENVIRONMENT,
    SHARE_OWNER,
    EnvironmentStorageSpec,
    ResourceSpec,
    ShareRef,
    ShareSpec,
)
from reconciler.api.tags import OWNER
from reconciler.composition.names import Names
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Policy

CONSUMPTION = {"name": "Consumption", "workloadProfileType": "Consumption"}
MODES = {"read": ("", "ReadOnly"), "write": ("-rw", "ReadWrite")}
DEFAULT_GPU = {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"}


def share_of(names: Names) -> ShareRef:
    return ShareRef(names.environment, names.resource_group, names.account, names.share)


def storage_key(names: Names, mode: str) -> ObjectKey:
    """The key of a registered share; `mode` is one of MODES. Another name in Azure is another
    object.
    """
    return ObjectKey(
        Kind.STORAGE,
        f"{names.environment}/{mode}" + (f"-{names.rotation}" if names.rotation else ""),
    )


def storage(environment: Environment, names: Names, generation: int, mode: str) -> Desired:
    """The share, registered so that apps can mount it."""
    ending, access = MODES[mode]
    body = {
        "properties": {
            "azureFile": {
                "accountName": names.account,
                "shareName": names.share,
                "accessMode": access,
            }
        }
    }
    spec = EnvironmentStorageSpec(
        name=names.storage + ending,
        resource_group=names.resource_group,
        environment=names.environment,
        body=body,
        asked=body,
        named="storage" in names.given,
        managed_environment=names.managed_environment,
        account=names.account,
        together=tuple(names.storage + ending for ending, _ in MODES.values()),
    )
    refs = (
        ObjectKey(Kind.ENVIRONMENT, names.environment),
        ObjectKey(Kind.SHARE, names.environment),
    )
    return Desired(
        storage_key(names, mode), spec=spec, refs=refs, **_origin(environment, generation)
    )


def workload_profiles(environment: Environment) -> list[dict[str, Any]]:
    """The profiles of the document; by default a serverless GPU profile, which costs nothing while
    no replica runs.
    """
    asked = environment.spec.workload_profiles
    if asked is None:
        return [CONSUMPTION, DEFAULT_GPU]
    profiles = [profile.model_dump(by_alias=True, exclude_none=True) for profile in asked]
    return (
        profiles if any(p["name"] == "Consumption" for p in profiles) else [CONSUMPTION, *profiles]
    )


def expand(
    environment: Environment, names: Names, tags: Mapping[str, str], generation: int
) -> list[Desired]:
    """The Environment's objects in Azure's order of creation; deletion goes backwards."""
    spec, part = environment.spec, _Part(environment, names, generation)
    head = {"location": names.location, "tags": {**(spec.tags or {}), **tags}}
    asked = {
        **({"location": spec.location} if spec.location else {}),
        **({"tags": dict(spec.tags)} if spec.tags else {}),
    }
    share = _share(spec, names.environment, tags[OWNER])
    group, workspace, account = map(
        part.key, (Kind.RESOURCE_GROUP, Kind.WORKSPACE, Kind.STORAGE_ACCOUNT)
    )
    return [
        part.of(Kind.RESOURCE_GROUP, "resource_group", (head, asked)),
        part.of(Kind.WORKSPACE, "workspace", _workspace(spec, head, asked), group),
        part.of(Kind.STORAGE_ACCOUNT, "account", _account(spec, head, asked), group),
        part.desired(
            Kind.SHARE, ShareSpec(**part.fields("share", *share), account=names.account), account
        ),
        part.of(
            Kind.ENVIRONMENT,
            "managed_environment",
            _managed(environment, head, asked),
            group,
            workspace,
        ),
        *(storage(environment, names, generation, mode) for mode in MODES),
    ]


def unify_shared(desired: Sequence[Desired]) -> list[Desired]:
    """Give a resource that several Environments of one owner name, such as their resource group,
    the body of the first Environment by name. Otherwise each of them would overwrite the tags of
    the other, without end.
    """
    first: dict[tuple[str, ...], ResourceSpec] = {}
    for item in sorted(desired, key=lambda each: each.key.name):
        if spec := _shared(item):
            first.setdefault(_place(item.key.kind, spec), spec)
    return [
        replace(item, spec=replace(spec, body=words.body, asked=words.asked))
        if (spec := _shared(item)) and (words := first[_place(item.key.kind, spec)])
        else item
        for item in desired
    ]


def _shared(item: Desired) -> ResourceSpec | None:
    """What is asked of a resource that more than one Environment may name."""
    kinds = (Kind.RESOURCE_GROUP, Kind.WORKSPACE, Kind.STORAGE_ACCOUNT)
    return item.spec if item.key.kind in kinds and isinstance(item.spec, ResourceSpec) else None


def _place(kind: str, spec: ResourceSpec) -> tuple[str, ...]:
    """Which resource of which owner it is; Azure takes names in any case."""
    owner = str(spec.body["tags"][OWNER])
    return kind, spec.resource_group.casefold(), spec.name.casefold(), owner


class _Part:
    """Makes the desired objects of one Environment. `field` is the field of Names that holds the
    resource's name. `bodies` are its whole body, and the part that the document itself asks for.
    """

    def __init__(self, environment: Environment, names: Names, generation: int) -> None:
        self._names = names
        self._origin = _origin(environment, generation)

    def key(self, kind: Kind) -> ObjectKey:
        return ObjectKey(kind, self._names.environment)

    def of(self, kind: Kind, field: str, bodies: Bodies, *refs: ObjectKey) -> Desired:
        return self.desired(kind, ResourceSpec(**self.fields(field, *bodies)), *refs)

    def desired(self, kind: Kind, spec: ResourceSpec, *refs: ObjectKey) -> Desired:
        # A resource that holds data outlives its document, unless a person says otherwise.
        retain = kind.holds_data or self._origin["retain"]
        return Desired(self.key(kind), spec=spec, refs=refs, **{**self._origin, "retain": retain})

    def fields(
        self, field: str, body: Mapping[str, Any], asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "name": getattr(self._names, field),
            "resource_group": self._names.resource_group,
            "environment": self._names.environment,
            "body": body,
            "asked": asked,
            "named": field in self._names.given,
        }


def _origin(environment: Environment, generation: int) -> dict[str, Any]:
    """What all objects of a document have in common."""
    return {
        "document": DocumentRef("Environment", environment.metadata.name),
        "generation": generation,
        "policy": Policy(environment.spec.reconcile_policy.value),
        "retain": environment.spec.deletion_policy.value == "Retain",
    }


Bodies = tuple[dict[str, Any], dict[str, Any]]


def _workspace(spec: EnvironmentSpec, head: Mapping[str, Any], asked: Mapping[str, Any]) -> Bodies:
    days = spec.log_analytics.retention_in_days if spec.log_analytics else None
    properties = {"retentionInDays": days} if days else {}
    body = {**head, "properties": {"sku": {"name": "PerGB2018"}, "retentionInDays": days or 30}}
    return body, {**asked, **({"properties": properties} if properties else {})}


def _account(spec: EnvironmentSpec, head: Mapping[str, Any], asked: Mapping[str, Any]) -> Bodies:
    sku = spec.storage.sku if spec.storage else None
    body = {
        **head,
        "kind": "StorageV2",
        "sku": {"name": sku or "Standard_LRS"},
        # The mount needs the shared key: Container Apps knows no identity-based Azure Files mount.
        "properties": {
            "allowSharedKeyAccess": True,
            "allowBlobPublicAccess": False,
            "minimumTlsVersion": "TLS1_2",
        },
    }
    return body, {**asked, **({"sku": {"name": sku}} if sku else {})}


def _share(spec: EnvironmentSpec, environment: str, owner: str) -> Bodies:
    quota = spec.storage.quota_gib if spec.storage else None
    asked = {"properties": {"shareQuota": quota}} if quota else {}
    # A share has no tags; its metadata says whose it is.
    metadata = {SHARE_ENVIRONMENT: environment, SHARE_OWNER: owner}
    return {"properties": {"shareQuota": quota or 100, "metadata": metadata}}, asked


def _managed(environment: Environment, head: Mapping[str, Any], asked: Mapping[str, Any]) -> Bodies:
    profiles = workload_profiles(environment)
    body = {
        **head,
        "properties": {
            "workloadProfiles": profiles,
            "appLogsConfiguration": {"destination": "log-analytics"},
        },
    }
    explicit = environment.spec.workload_profiles is not None
    return body, {**asked, **({"properties": {"workloadProfiles": profiles}} if explicit else {})}
