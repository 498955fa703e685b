"""`rollout.strategy: Auto`: Surge if the quota has room for a second replica, Recreate if that
would wait for a GPU for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api import versions
from reconciler.api.outputs import Revision
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps, environments
from reconciler.arm.clients import Arm

# The names under which Azure counts the GPUs of a profile: in an environment, and in a region.
GPU_USAGE = {
    "Consumption-GPU-NC24-A100": "ManagedEnvironmentConsumptionNCA100Gpus",
    "Consumption-GPU-NC8as-T4": "ManagedEnvironmentConsumptionT4Gpus",
}
REGION_GPU_USAGE = {
    "Consumption-GPU-NC24-A100": "SubscriptionConsumptionNCA100Gpus",
    "Consumption-GPU-NC8as-T4": "SubscriptionConsumptionT4Gpus",
}

NONE = "0 of 0, 0 left"  # of a quota that was never granted


async def resolve_strategy(
    arm: Arm, spec: ContainerAppSpec, found: Mapping[str, Any], revisions: Sequence[Revision]
) -> str:
    """The strategy in effect now. Usages are read only until the wanted revision is active: then
    nothing is left to decide.
    """
    if spec.strategy != "Auto" or any(
        revision.active and revision.name == spec.revision for revision in revisions
    ):
        return "Surge" if spec.strategy == "Auto" else spec.strategy
    usage = await _gpus(arm, spec, found)
    # Azure places no replica beyond the quota and refuses no request: a Surge would wait for ever.
    if usage is None or float(usage["currentValue"]) < float(usage["limit"]):
        return "Surge"
    return "Recreate"


def counts(spec: ContainerAppSpec) -> bool:
    """Whether a GPU quota may hold the service up: it names a profile other than Consumption."""
    named = spec.body["properties"].get("workloadProfileName")
    return named not in (None, "Consumption")


async def full(arm: Arm, spec: ContainerAppSpec, found: Mapping[str, Any]) -> str:
    """A sentence if the GPU quota has no room; empty if it has, or if no quota counts."""
    usage = await _gpus(arm, spec, found)
    if usage is None or float(usage["currentValue"]) < float(usage["limit"]):
        return ""
    used, limit = float(usage["currentValue"]), float(usage["limit"])
    return f"the quota {usage['name']['value']} is used up: {used:g} of {limit:g}, 0 left"


async def _gpus(
    arm: Arm, spec: ContainerAppSpec, found: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """The usage of the environment that counts the service's GPUs; None where there is none."""
    home = apps.environment_of(found)
    profile = str(spec.body["properties"].get("workloadProfileName"))
    usage = _usage_name(await arm.get_json(home, versions.APP), profile)
    if usage is None:
        return None
    name = home.rsplit("/", 1)[-1]
    for entry in await environments.environment_usages(arm, spec.resource_group, name):
        if entry["name"]["value"].lower() == usage.lower():
            return entry
    return None


def _usage_name(environment: Mapping[str, Any] | None, profile: str) -> str | None:
    """The usage that counts the GPUs of the profile called `profile`; None when it has none."""
    for each in ((environment or {}).get("properties") or {}).get("workloadProfiles") or []:
        if each["name"] == profile:
            return GPU_USAGE.get(each["workloadProfileType"])
    return None
