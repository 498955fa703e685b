"""The `Environment` document: the resources that services share. The composition derives every
field that is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from reconciler.api import names
from reconciler.api.fields import (
    AnyCaseEnum,
    Bool,
    Fault,
    Int,
    Items,
    Model,
    bounded,
    refusal,
    refuse_any,
    unique,
)
from reconciler.api.gateway_fields import Gateway
from reconciler.api.policies import DeletionPolicy, ReconcilePolicy
from reconciler.api.tags import PREFIX

# the profiles of an environment whose spec.workloadProfiles is left out
DERIVED_PROFILES = ("Consumption", "gpu")
_TAG_LIMIT = 45  # Azure takes 50 tags; the rest is for Moorage's own


class StorageSku(AnyCaseEnum):
    """Redundancy of the storage account, a general-purpose one."""

    STANDARD_LRS = "Standard_LRS"
    STANDARD_ZRS = "Standard_ZRS"
    STANDARD_GRS = "Standard_GRS"
    STANDARD_GZRS = "Standard_GZRS"


class LogAnalytics(Model):
    name: Annotated[str, names.WORKSPACE] | None = None
    """The workspace's name; `law-<environment>` when left out."""
    retention_in_days: Annotated[Int, Field(ge=30, le=730)] | None = None
    """Days for which logs are kept, 30 to 730; 30 when left out."""


class Storage(Model):
    account_name: Annotated[str, names.STORAGE_ACCOUNT] | None = None
    """The storage account's name, unique in all of Azure; derived from the subscription and names
    when left out.
    """
    share_name: Annotated[str, names.FILE_SHARE] | None = None
    """The file share that replicas mount; `moorage` when left out."""
    quota_gib: Annotated[Int, Field(ge=1, le=102_400)] | None = Field(
        default=None, alias="quotaGiB"
    )
    """Size limit of the share in GiB; 100 when left out."""
    sku: StorageSku | None = None
    """Redundancy of the storage account; Standard_LRS when left out."""


class ManagedEnvironment(Model):
    name: Annotated[str, names.MANAGED_ENVIRONMENT] | None = None
    """The Container Apps environment's name; `cae-<environment>` when left out."""
    storage_name: Annotated[str, names.ENVIRONMENT_STORAGE] | None = None
    """The name under which the share is registered in the managed environment; `moorage` when left
    out. After a rotation of the key its fingerprint is appended.
    """


class WorkloadProfile(Model):
    name: Annotated[str, names.WORKLOAD_PROFILE]
    """The name that `workloadProfileName` of a service refers to."""
    workload_profile_type: Annotated[
        str,
        bounded(
            lambda value: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", value) is not None,
            "{!r} is no workload profile type",
            "write one such as Consumption-GPU-NC24-A100, Consumption-GPU-NC8as-T4, Consumption"
            " or D4",
        ),
    ]
    """A type the region offers, such as Consumption-GPU-NC24-A100 (serverless A100) or
    Consumption-GPU-NC8as-T4.
    """
    minimum_count: Annotated[Int, Field(ge=0, le=100)] | None = None
    """Nodes that always run; dedicated profiles only."""
    maximum_count: Annotated[Int, Field(ge=1, le=100)] | None = None
    """The highest number of nodes; dedicated profiles only."""

    @model_validator(mode="after")
    def _counts(self) -> Self:
        counts = {"minimumCount": self.minimum_count, "maximumCount": self.maximum_count}
        given = [name for name, count in counts.items() if count is not None]
        if given and self.workload_profile_type.lower().startswith("consumption"):
            why = (
                f"{self.workload_profile_type} is serverless: Azure refuses node counts"
                " (WorkloadProfilePropertyNotSupported)"
            )
            refuse_any(
                Fault(
                    f"{name} cannot be set, {why}",
                    "leave it out; scale is the service's",
                    (name,),
                    key=True,
                )
                for name in given
            )
        if len(given) == 1 and not self.workload_profile_type.lower().startswith("consumption"):
            missing = next(name for name in counts if name not in given)
            raise refusal(
                Fault(
                    f"{given[0]} is set without {missing}",
                    "a dedicated profile takes both",
                    (given[0],),
                    key=True,
                )
            )
        if (
            self.minimum_count is not None
            and self.maximum_count is not None
            and self.minimum_count > self.maximum_count
        ):
            raise refusal(
                Fault("minimumCount is larger than maximumCount", "swap them", ("minimumCount",))
            )
        return self


class SyncPolicy(Model):
    automated: Bool = True
    """Whether the daemon applies changes by itself; otherwise `moorage approve` does."""
    prune: Bool = False
    """Whether deletions and replacements go ahead without `moorage approve`."""


def _tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    faults = [
        Fault(
            f"{len(tags)} tags are more than the {_TAG_LIMIT} that fit beside Moorage's own",
            "remove some",
        )
    ] * (len(tags) > _TAG_LIMIT)
    seen: dict[str, str] = {}
    for name, value in tags.items():
        if fault := _tag_fault(name, value):
            faults.append(fault)
        elif name.lower() in seen:
            faults.append(
                Fault(
                    f"tag {name!r} is {seen[name.lower()]!r} again: tags have no case",
                    "keep one of them",
                    (name,),
                    key=True,
                )
            )
        seen.setdefault(name.lower(), name)
    refuse_any(faults)
    return tags


def _tag_fault(name: str, value: str) -> Fault | None:
    if name.lower().startswith((PREFIX, "microsoft", "azure", "windows")):
        return Fault(
            f"tag {name!r} has a reserved prefix",
            "do not start it with moorage-, microsoft, azure or windows",
            (name,),
            key=True,
        )
    if not 1 <= len(name) <= 128 or re.search(r"[<>%&\\?/\x00-\x1f]", name):
        return Fault(
            f"{name[:70]!r} cannot be a tag's name",
            "1 to 128 characters without <>%&\\?/",
            (name,),
            key=True,
        )
    if len(value) > 256:
        return Fault(
            f"tag {name!r} has a value of {len(value)} characters", "Azure takes 256", (name,)
        )
    return None


def _location(value: str) -> str:
    """`Sweden Central` and `swedencentral` are one region; Azure answers with either."""
    plain = value.replace(" ", "").lower()
    if not re.fullmatch(r"[a-z][a-z0-9]{2,39}", plain, re.ASCII):
        raise refusal(Fault(f"{value!r} is no Azure region", "write one such as swedencentral"))
    return plain


def _subscription(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value.lower()):
        raise refusal(
            Fault(
                f"{value!r} is no subscription id",
                "it is a GUID; `az account show --query id` prints it",
            )
        )
    return value.lower()


class EnvironmentSpec(Model):
    owner: (
        Annotated[
            str,
            bounded(
                lambda value: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}", value) is not None,
                "{!r} cannot name a set of documents",
                "write up to 63 letters, digits, dots, dashes and slashes, such as team-a",
            ),
        ]
        | None
    ) = None
    """The identity of the set of documents, which the tags of all resources carry. When left out,
    the setting MOORAGE_OWNER, or else derived from where the documents are.
    """
    subscription_id: Annotated[str, AfterValidator(_subscription)] | None = None
    """The Azure subscription; the setting MOORAGE_SUBSCRIPTION_ID when left out."""
    resource_group: Annotated[str, names.RESOURCE_GROUP] | None = None
    """The resource group, created when missing; `rg-moorage-<environment>` when left out."""
    location: Annotated[str, AfterValidator(_location)] | None = None
    """The Azure region. It cannot be changed later."""
    tags: Annotated[Mapping[str, str], AfterValidator(_tags)] = Field(default_factory=dict)
    """Tags for everything that Moorage creates, in addition to its own; tags of others stay."""
    log_analytics: LogAnalytics | None = None
    """The Log Analytics workspace."""
    storage: Storage | None = None
    """The storage account and file share that hold models, adapters and code."""
    managed_environment: ManagedEnvironment | None = None
    """The Container Apps environment."""
    workload_profiles: (
        Annotated[
            Items[WorkloadProfile], unique("name", "workload profile", "give it another name")
        ]
        | None
    ) = None
    """Workload profiles of the managed environment; Consumption and a serverless A100 named `gpu`
    when left out.
    """
    gateway: Gateway | None = None
    """One address for all services of the Environment, which wakes those that sleep and holds
    requests until they answer; `{}` takes every default. None when left out.
    """
    sync_policy: SyncPolicy = SyncPolicy()
    """What the daemon may do without an approval."""
    reconcile_policy: ReconcilePolicy = ReconcilePolicy.MANAGE
    """Manage writes to Azure; Observe only reports differences; Skip does not read Azure either."""
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    """What happens to the resources when this document is removed; the storage account and its
    share are always retained.
    """
