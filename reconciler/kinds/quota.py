"""`rollout.strategy: Auto`: Surge where a second replica finds room, Recreate where it would wait
for ever for a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api import versions
from reconciler.api.outputs import Revision
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import environments
from reconciler.arm.clients import Arm

GPU_USAGE = {
    "Consumption-GPU-NC24-A100": "ManagedEnvironmentConsumptionNCA100Gpus",
    "Consumption-GPU-NC8as-T4": "ManagedEnvironmentConsumptionT4Gpus",
}


async def resolve_strategy(
    arm: Arm, spec: ContainerAppSpec, found: Mapping[str, Any], revisions: Sequence[Revision]
) -> str:
    """The strategy in effect now. Usages are read only until the wanted revision is active: then
    nothing is left to decide.
    """
    properties = found["properties"]
    if spec.strategy != "Auto" or any(
        revision.active and revision.name == spec.revision for revision in revisions
    ):
        return "Surge" if spec.strategy == "Auto" else spec.strategy
    environment = str(
        properties.get("environmentId") or properties.get("managedEnvironmentId") or ""
    ).rsplit("/", 1)[-1]
    profiles = await arm.get_json(
        str(properties.get("environmentId") or properties["managedEnvironmentId"]), versions.APP
    )
    usage = _usage_name(profiles, str(spec.body["properties"].get("workloadProfileName")))
    if usage is None:
        return "Surge"
    for entry in await environments.environment_usages(arm, spec.resource_group, environment):
        if entry["name"]["value"].lower() == usage.lower():
            return "Surge" if float(entry["currentValue"]) < float(entry["limit"]) else "Recreate"
    return "Surge"


def _usage_name(environment: Mapping[str, Any] | None, profile: str) -> str | None:
    """The usage that counts the GPUs of the profile called `profile`; None when it has none."""
    for each in ((environment or {}).get("properties") or {}).get("workloadProfiles") or []:
        if each["name"] == profile:
            return GPU_USAGE.get(each["workloadProfileType"])
    return None
