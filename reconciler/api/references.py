"""Problems that show only between documents: two with one name, dangling references, sizes that a
profile cannot give.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reconciler.api.documents import AnyDocument, Environment, InferenceService
from reconciler.api.environment import DERIVED_PROFILES
from reconciler.api.problems import Problem
from reconciler.api.yaml_node import Node

IMPLICIT_ENVIRONMENT = "default"
_CONSUMPTION: str = "Consumption"
# Cores and GiB of the largest replica, by the type of the profile: all of a node's.
_LIMITS = {
    "consumption-gpu-nc24-a100": (24.0, 220.0),
    "consumption-gpu-nc8as-t4": (8.0, 56.0),
    **{f"d{size}": (float(size), 4.0 * size) for size in (4, 8, 16, 32)},
    **{f"e{size}": (float(size), 8.0 * size) for size in (4, 8, 16, 32)},
    **{f"nc{24 * gpus}-a100": (24.0 * gpus, 220.0 * gpus) for gpus in (1, 2, 4)},
}


class Declared(NamedTuple):
    """A document's kind and name as written; `document` is None when it is broken in itself."""

    kind: str
    name: str
    file: Path
    node: Node
    document: AnyDocument | None

    def problem(self, path: tuple[str | int, ...], message: str, hint: str) -> Problem:
        return Problem(self.file, *self.node.find(path), message, hint)


def reference_problems(declared: Sequence[Declared]) -> Iterator[Problem]:
    """Problems between documents."""
    yield from _duplicates(declared)
    environments = {one.name: one.document for one in declared if one.kind == "Environment"}
    # Once for all services: a thousand of them share a few Environments.
    types = {name: _profile_types(document) for name, document in environments.items()}
    for one in declared:
        if one.kind == "InferenceService":
            yield from _environment(one, environments, types)


def _duplicates(declared: Sequence[Declared]) -> Iterator[Problem]:
    seen: dict[tuple[str, str], Declared] = {}
    for one in declared:
        first = seen.setdefault((one.kind, one.name), one)
        if first is not one:
            line, column = first.node.find(("metadata", "name"))
            where = f"{first.file}:{line}:{column}"
            yield one.problem(
                ("metadata", "name"),
                f"there are two {one.kind} documents named {one.name!r}, the first in {where}",
                "rename one",
            )


def _environment(
    one: Declared,
    environments: Mapping[str, AnyDocument | None],
    types: Mapping[str, Mapping[str, str]],
) -> Iterator[Problem]:
    written = one.node.at(("spec", "environment"))
    name = written.scalar if written and isinstance(written.scalar, str) else IMPLICIT_ENVIRONMENT
    if name not in environments and name != IMPLICIT_ENVIRONMENT:
        known = [*environments, IMPLICIT_ENVIRONMENT]
        close = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"did you mean {close[0]!r}?"
            if close
            else f"write the Environment document, or one of: {', '.join(known)}"
        )
        yield one.problem(("spec", "environment"), f"there is no Environment named {name!r}", hint)
        return
    environment = environments.get(name)
    if isinstance(one.document, InferenceService) and (
        environment is not None or name not in environments
    ):
        yield from _profile(one, one.document, types.get(name) or _profile_types(None))


def _profile(
    one: Declared, service: InferenceService, types: Mapping[str, str]
) -> Iterator[Problem]:
    wanted = service.spec.workload_profile_name
    if wanted is None:
        yield from _size(one, service, _derived(service, types))
        return
    if wanted not in types:
        close = next((name for name in types if name.lower() == wanted.lower()), None)
        known = (
            f"did you mean {close!r}?"
            if close
            else f"it has {', '.join(types)}; add it to spec.workloadProfiles"
        )
        yield one.problem(
            ("spec", "workloadProfileName"),
            f"Environment {service.spec.environment!r} has no workload profile {wanted!r}",
            known,
        )
        return
    yield from _size(one, service, types[wanted])


def _derived(service: InferenceService, types: Mapping[str, str]) -> str:
    """The type of the workload profile that a service gets which names none: for a model the first
    with a GPU.
    """
    gpus = (each for each in types.values() if "gpu" in each.lower() or "-a100" in each.lower())
    return next(gpus, _CONSUMPTION) if service.spec.model else _CONSUMPTION


def _profile_types(environment: AnyDocument | None) -> dict[str, str]:
    asked = environment.spec.workload_profiles if isinstance(environment, Environment) else None
    if asked is None:
        return dict(zip(DERIVED_PROFILES, (_CONSUMPTION, "Consumption-GPU-NC24-A100"), strict=True))
    return {_CONSUMPTION: _CONSUMPTION} | {
        profile.name: profile.workload_profile_type for profile in asked
    }


def _pair(cpu: float, gib: float) -> str:
    """The smallest replica of the Consumption profile that has as much."""
    rule = "it takes cores in steps of 0.25 up to 4, and twice as many Gi"
    cores = math.ceil(max(cpu, gib / 2, 0.25) * 4) / 4
    if cores > 4:
        return f"{rule}; a workload profile of the Environment may have more"
    return f"{rule}: write cpu: {cores:g} and memory: {2 * cores:g}Gi"


def _size(one: Declared, service: InferenceService, profile: str) -> Iterator[Problem]:
    resources = service.spec.resources
    if resources is None:
        return
    memory = float(resources.memory.removesuffix("Gi")) if resources.memory else None
    if profile.lower() == _CONSUMPTION.lower():
        derived = 4.0 if service.spec.model else 0.5  # cores that a service gets which names none
        cpu = resources.cpu or derived
        gib = 2 * derived if memory is None else memory
        if gib != 2 * cpu or cpu > 4 or cpu % 0.25:
            yield one.problem(
                ("spec", "resources"),
                f"the Consumption profile has no replica of {cpu:g} cores and {gib:g}Gi",
                _pair(resources.cpu or 0, memory or 0),
            )
        return
    cores, gib = _LIMITS.get(profile.lower(), (float("inf"), float("inf")))
    if resources.cpu and resources.cpu > cores:
        yield one.problem(
            ("spec", "resources", "cpu"),
            f"{profile} has {cores:g} cores",
            f"write {cores:g} or less",
        )
    if memory and memory > gib:
        yield one.problem(
            ("spec", "resources", "memory"),
            f"{profile} has {gib:g}Gi of memory",
            f"write {gib:g}Gi or less",
        )
