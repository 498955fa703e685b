"""Workload profile types and their rules: which an environment may have, and the usages of a
region.
"""

import re
from dataclasses import dataclass

from infra.local_azure import regions
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import bad_request
from infra.local_azure.arm.reply import Reply
from infra.local_azure.control import quotas
from infra.local_azure.control.apps import AppControl
from infra.local_azure.control.naming import ENVIRONMENT
from infra.local_azure.control.records import Body
from infra.local_azure.providers.provider import Provider
from infra.local_azure.store import Store


@dataclass(frozen=True)
class LocationUsages(Provider):
    """What a region offers, and how much of it is used."""

    store: Store
    apps: AppControl

    def routes(self) -> Routes:
        return {
            f"get microsoft.app/locations/{{}}/{_AVAILABLE.lower()}": self.available,
            "get microsoft.app/locations/{}/usages": self.location_usages,
        }

    def available(self, call: Call) -> Reply:
        place = regions.normal(call.target.names[0])
        provider = f"/subscriptions/{call.target.subscription}/providers/Microsoft.App"
        root = f"{provider}/{_AVAILABLE}"
        kind = f"Microsoft.App/{_AVAILABLE}"
        items = [
            {
                "location": place,
                "properties": _properties(profile, call.version),
                "id": f"{root}/{profile.name}",
                "name": profile.name,
                "type": kind,
            }
            for profile in offered(place)
            if serverless(call.version) or profile.name == "Consumption" or not profile.serverless
        ]
        return Reply(200, {"value": items})

    def location_usages(self, call: Call) -> Reply:
        place = regions.normal(call.target.names[0])
        records = self.store.each(ENVIRONMENT)
        here = [record for record in records if regions.normal(record.body["location"]) == place]
        value = [
            quotas.usage("ManagedEnvironmentCount", "Managed Environment Count", len(here), 20)
        ]
        return counted(call, [*value, *self.apps.gpu_usages(place, regional=True)])


@dataclass(frozen=True)
class Profile:
    """One type: vCPUs, memory in GiB, GPUs; `serverless` ones have no instance counts."""

    name: str
    shown: str
    category: str
    cores: int
    memory: int
    gpus: int = 0
    serverless: bool = False


_GENERAL = [
    Profile(f"D{size}", f"Dedicated-D{size}", "GeneralPurpose", size, size * 4)
    for size in (4, 8, 16, 32)
]
_MEMORY = [
    Profile(f"E{size}", f"Dedicated-E{size}", "MemoryOptimized", size, size * 8)
    for size in (4, 8, 16, 32)
]
_DEDICATED = [
    Profile(f"NC{24 * n}-A100", f"Dedicated-NC{24 * n}-A100", "GPU-NC-A100", 24 * n, 220 * n, n)
    for n in (1, 2, 4)
]
_SERVERLESS = [
    Profile(
        "Consumption-GPU-NC24-A100",
        "Consumption-GPU-NC24-A100",
        "Consumption-GPU-NC24-A100",
        24,
        220,
        1,
        serverless=True,
    ),
    Profile(
        "Consumption-GPU-NC8as-T4",
        "Consumption-GPU-NC8as-T4",
        "Consumption-GPU-NC8as-T4",
        8,
        56,
        1,
        serverless=True,
    ),
]
_CONSUMPTION = [Profile("Consumption", "Consumption", "Consumption", 4, 8, serverless=True)]
_AVAILABLE = "availableManagedEnvironmentsWorkloadProfileTypes"
PROFILES = {
    profile.name.lower(): profile
    for profile in [*_GENERAL, *_MEMORY, *_DEDICATED, *_SERVERLESS, *_CONSUMPTION]
}


def offered(location: str) -> list[Profile]:
    """The types of a region: serverless GPUs are not everywhere."""
    place = regions.normal(location)
    missing = set()
    if place not in regions.A100:
        missing.add("consumption-gpu-nc24-a100")
    if place not in regions.T4:
        missing.add("consumption-gpu-nc8as-t4")
    if place not in {"northeurope", "uksouth", "westus3"}:
        missing |= {profile.name.lower() for profile in _DEDICATED}
    return [profile for key, profile in PROFILES.items() if key not in missing]


def settle(sent: list[Body] | None, location: str) -> list[Body] | None:
    """An environment's profiles as a GET shows them: spelled as Azure does, Consumption added at
    the end.
    """
    if not sent:
        return None
    types = {profile.name.lower(): profile for profile in offered(location)}
    shown = [
        _entry({key[:1].lower() + key[1:]: value for key, value in entry.items()}, types, location)
        for entry in sent
    ]
    names = [entry["name"].lower() for entry in shown]
    if len(set(names)) != len(names):
        raise bad_request(
            "WorkloadProfileDuplicateName",
            "The workload profile names of an environment must be unique.",
        )
    if not any(entry["workloadProfileType"] == "Consumption" for entry in shown):
        shown.append({"workloadProfileType": "Consumption", "name": "Consumption"})
    return shown


def _entry(entry: Body, types: dict[str, Profile], location: str) -> Body:
    name, kind = str(entry.get("name") or ""), str(entry.get("workloadProfileType") or "")
    profile = types.get(kind.lower())
    if profile is None:
        text = (
            f"Workload profile type '{kind}' is not supported in location"
            f" '{regions.display(location)}'."
        )
        raise bad_request("WorkloadProfileTypeNotSupported", text)
    if len(name) > 15:
        raise bad_request(
            "WorkloadProfileInvalidNameTooLong",
            f"Workload profile name '{name}' must not exceed 15 characters.",
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise bad_request(
            "WorkloadProfileInvalidName", f"Workload profile name '{name}' is invalid."
        )
    shown: Body = {"workloadProfileType": profile.name, "name": name}
    for field in ("minimumCount", "maximumCount"):
        if entry.get(field) is None:
            continue
        if profile.serverless:
            shown_field, shown_type = field[0].upper() + field[1:], profile.name.replace("-", "_")
            text = f"Workload Profile property '{shown_field}' is not supported for {shown_type}."
            raise bad_request("WorkloadProfilePropertyNotSupported", text)
        shown[field] = int(entry[field])
    return shown


def serverless(version: str) -> bool:
    """Serverless GPUs came in 2025: the api-versions before know nothing of them, nor of units and
    applicability.
    """
    return version >= "2025"


def _properties(profile: Profile, version: str) -> Body:
    body: Body = {
        "displayName": profile.shown,
        "category": profile.category,
        "cores": profile.cores,
        "memoryGiB": profile.memory,
    }
    body |= {"applicability": "LocationDefault"} if serverless(version) else {}
    return {**body, "gpus": profile.gpus} if profile.gpus else body


def counted(call: Call, usages: list[Body]) -> Reply:
    """Usages as this api-version has them."""
    if not serverless(call.version):
        usages = [{key: value for key, value in entry.items() if key != "unit"} for entry in usages]
        usages = [entry for entry in usages if not entry["name"]["value"].endswith("Gpus")]
    return Reply(200, {"value": usages})
