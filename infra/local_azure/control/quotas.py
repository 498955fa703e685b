"""GPU quotas of the serverless GPU profiles, in an environment and in a region, and the usages that
show them.

A quota refuses no request: the scheduler does not place a replica that exceeds it. Limits are
settings of the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local_azure import regions
from infra.local_azure.store import Record, Store

from .naming import ENVIRONMENT

Body = dict[str, Any]
_DEFAULT = 2


@dataclass(frozen=True)
class Quota:
    """A usage: Azure's name, its label, and whether it counts in one environment or in the whole
    region.
    """

    name: str
    shown: str
    regional: bool


_PROFILES = {
    "consumption-gpu-nc24-a100": (
        Quota(
            "ManagedEnvironmentConsumptionNCA100Gpus",
            "Managed Environment Consumption NCA 100 Gpus",
            regional=False,
        ),
        Quota(
            "SubscriptionConsumptionNCA100Gpus",
            "Subscription Consumption NCA 100 Gpus",
            regional=True,
        ),
    ),
    "consumption-gpu-nc8as-t4": (
        Quota(
            "ManagedEnvironmentConsumptionT4Gpus",
            "Managed Environment Consumption T4 Gpus",
            regional=False,
        ),
        Quota("SubscriptionConsumptionT4Gpus", "Subscription Consumption T4 Gpus", regional=True),
    ),
}
QUOTAS = [quota for quotas in _PROFILES.values() for quota in quotas]


def limit(store: Store, name: str) -> int:
    """The limit of a quota; 0 while a fault says so."""
    if store.read("quota:none"):
        return 0
    kept = store.read(f"quota:{name}")
    return _DEFAULT if kept is None else int(kept)


def set_limit(store: Store, name: str, value: int) -> None:
    """Keeps a limit by the usage's name. Raises KeyError with the names there are."""
    if name not in {quota.name for quota in QUOTAS}:
        raise KeyError(
            f"there is no quota {name!r}; there are {', '.join(quota.name for quota in QUOTAS)}"
        )
    store.keep(f"quota:{name}", str(max(0, value)))


def claims(environment: Record, profile: str | None) -> tuple[str, ...]:
    """What a replica on this profile of the environment takes one of each."""
    return tuple(
        _claim(quota, environment) for quota in _PROFILES.get(_type(environment, profile), ())
    )


def has_gpu(environment: Record, profile: str | None) -> bool:
    """Whether replicas on this profile get a GPU, serverless or of a dedicated node."""
    return _type(environment, profile).startswith(("consumption-gpu-", "nc"))


def limits(store: Store) -> dict[str, int]:
    """Every claim there can be, with its limit."""
    environments = store.each(ENVIRONMENT)
    known = {quota: limit(store, quota.name) for quota in QUOTAS}
    return {
        _claim(quota, environment): value
        for environment in environments
        for quota, value in known.items()
    }


def usages(store: Store, used: Mapping[str, int], scope: str, *, regional: bool) -> list[Body]:
    """The GPU usages of an environment (its key) or a region (its normal form)."""
    return [
        usage(
            quota.name,
            quota.shown,
            used.get(f"{scope}/{quota.name}", 0),
            limit(store, quota.name),
        )
        for quota in QUOTAS
        if quota.regional == regional
    ]


def usage(name: str, shown: str, value: int, limit: int) -> Body:
    entry = {"name": {"value": name, "localizedValue": shown}, "unit": "Count"}
    return {**entry, "usage": value, "currentValue": value, "limit": limit}


def _type(environment: Record, profile: str | None) -> str:
    """The type behind a profile's name, in lower case; an environment without profiles has
    Consumption alone.
    """
    profiles = environment.body["properties"]["workloadProfiles"] or []
    types = {entry["name"].lower(): entry["workloadProfileType"] for entry in profiles}
    return str(types.get((profile or "").lower(), "Consumption")).lower()


def _claim(quota: Quota, environment: Record) -> str:
    region = regions.normal(environment.body["location"])
    return f"{region if quota.regional else environment.key}/{quota.name}"
