"""The decided import of a project: every choice that `document` writes into the YAML file."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.api import names
from reconciler.api.adapters import findings
from reconciler.api.engine_flags import MAX_LORA_RANK
from reconciler.toolkit.existing import Existing
from reconciler.toolkit.project import MODELS, Project

DEDICATED = "NC24-A100"
DEDICATED_REGIONS = ("northeurope", "uksouth", "westus3")  # where dedicated A100 nodes exist
SERVERLESS = "Consumption-GPU-NC24-A100"
NEWEST = f"share://{MODELS}/**"
PORT = 7860
STARTUP_SECONDS = 1260  # what the templates' startup probe allows: 60 s, then 10 times 120 s


@dataclass(frozen=True)
class ChosenAdapter:
    """`source` as in a document. With `here` it is a local path below the project's root."""

    name: str
    source: str
    here: bool
    rank: int = 0


@dataclass(frozen=True)
class Choice:
    """A decided import. `model` is a source like an adapter's; `model_here` that it is below the
    project's root.
    """

    project: Project
    existing: Existing
    engine: str
    name: str
    adapters: tuple[ChosenAdapter, ...]
    model: str | None
    model_here: bool
    location: str | None

    @property
    def instances(self) -> int:
        value = self.project.settings.parameters.get("maximumInstanceCount")
        return int(value.value) if value else 1

    def resource(self, parameter: str) -> str | None:
        """The name of a resource, from the files or from the resource group."""
        given = self.project.settings.name(parameter)
        return str(given.value) if given else self.existing.names.get(parameter)

    @property
    def profile(self) -> dict[str, Any]:
        """The workload profile. For an adopted container app whose web API is kept, the profile of
        the container app; otherwise a GPU profile of the environment. Without one, the profile of
        the templates if the web API is kept and the region offers it, or else the same GPU as a
        serverless profile.
        """
        there = next(
            (each for each in self.existing.profiles if "A100" in each["workloadProfileType"]), None
        )
        if self.engine == "code" and (own := self.existing.adopted.get("workloadProfileName")):
            there = next(
                (each for each in self.existing.profiles if each["name"].lower() == own.lower()),
                there,
            )
        dedicated = self.engine == "code" and self.location in DEDICATED_REGIONS
        profile = dict(
            there or {"name": "GPU", "workloadProfileType": DEDICATED if dedicated else SERVERLESS}
        )
        kept = {key: profile[key] for key in ("name", "workloadProfileType")}
        if kept["workloadProfileType"].lower().startswith("consumption"):
            return kept
        asked = "maximumInstanceCount" in self.project.settings.parameters
        most = (
            self.instances
            if asked or not there
            else int(there.get("maximumCount") or self.instances)
        )
        return {**kept, "minimumCount": int(profile.get("minimumCount") or 0), "maximumCount": most}


def service_name(wanted: str) -> str | None:
    """`wanted` as a valid name of a container app; None if no character of it is valid."""
    plain = (
        re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]+", "-", wanted.lower())).strip("-")[:32].strip("-")
    )
    try:
        return names.CONTAINER_APP(plain)
    except ValueError:
        return None


def adapter_names(paths: Sequence[str], taken: Collection[str]) -> list[str]:
    """A name for each folder below models/: the first part of its path that differs from the
    others.
    """
    chosen: list[str] = []
    for path in paths:
        parts = [
            part
            for part in path.removeprefix("share://").split("/")[1:]
            if part not in ("**", "adapter", "adapters")
        ]
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", parts[0]).strip("._-")[:50] if parts else ""
        base = base or "tuned"
        free = (
            name
            for name in (base, *(f"{base}-{n}" for n in range(2, 100)))
            if name.lower() not in {*taken, *chosen}
        )
        chosen.append(next(free))
    return chosen


def adapter_faults(
    folder: Path, base: Path | None, *, engine: str
) -> tuple[list[str], list[str], int]:
    """Why `engine` cannot use an adapter, notes about the adapter, and its rank. PEFT loads more
    than vLLM, so for the web API only a damaged adapter is an error.
    """
    found = findings(folder, base, MAX_LORA_RANK)
    if engine == "vllm":
        return list(found.problems), [], found.rank
    pickled = any("pickle" in problem for problem in found.problems)
    broken = [p for p in found.problems if not pickled and (found.rank == 0 or "not finite" in p)]
    return broken, [problem for problem in found.problems if problem not in broken], found.rank
