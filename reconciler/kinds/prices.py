"""What a service costs in an hour, from a table of prices that its user may replace. Pure but for
`read`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.api.regular_files import read_regular
from reconciler.api.resources import ContainerAppSpec, ResourceSpec
from reconciler.engine.external import Desired, ObjectKey, with_spec

LONGEST = 2**20
CONSUMPTION = "Consumption"
_GIB = {"Gi": 1.0, "Mi": 1 / 1024}


@dataclass(frozen=True)
class Price:
    """Of one service in an hour: with its fewest replicas, and with its most."""

    currency: str
    least: float
    most: float

    def __str__(self) -> str:
        low, high = f"{self.least:.2f}", f"{self.most:.2f}"
        return f"{low if low == high else f'{low} to {high}'} {self.currency} an hour"


@dataclass(frozen=True)
class Prices:
    """A table: by type of workload profile what a replica that has it for itself costs in an hour;
    and what a core and a GiB cost on the Consumption profile.
    """

    currency: str = "EUR"
    replicas: Mapping[str, float] = field(default_factory=dict)
    core: float | None = None
    gib: float | None = None


# What one project paid for a replica in Sweden Central, all included; docs/unverified.md.
BUILT_IN = Prices(replicas={"Consumption-GPU-NC24-A100": 2.16})


def read(path: Path) -> Prices:
    """The table in a JSON file.

    Raises:
        OSError: it cannot be read. ValueError: it is no table; the text says what is wrong.
    """
    try:
        body = json.loads(read_regular(path, LONGEST))
        replicas = {str(name): _number(value) for name, value in body["perReplicaHour"].items()}
        core, gib = (body.get(name) for name in ("perCoreHour", "perGiBHour"))
        numbers = [None if value is None else _number(value) for value in (core, gib)]
        return Prices(str(body["currency"]), replicas, *numbers)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.lineno}:{error.colno}: this is no JSON: {error.msg}") from None
    except (KeyError, TypeError, AttributeError, RecursionError):
        text = "1:1: a table has currency, perReplicaHour and, if known, perCoreHour, perGiBHour"
        raise ValueError(text) from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"1:1: {value!r} is no price")
    return float(value)


def hourly(desired: Iterable[Desired], prices: Prices) -> dict[ObjectKey, Price]:
    """The price of each container app whose profile the table knows."""
    items = list(desired)
    found = {}
    one = per_replica(items, prices)
    for app in with_spec(items, ContainerAppSpec):
        if app.key in one:
            scale = app.spec.template["scale"]
            least, most = (one[app.key] * int(scale[f"{word}Replicas"]) for word in ("min", "max"))
            found[app.key] = Price(prices.currency, round(least, 4), round(most, 4))
    return found


def per_replica(desired: Iterable[Desired], prices: Prices) -> dict[ObjectKey, float]:
    """What an hour of one replica costs, of each container app whose profile the table knows."""
    items = list(desired)
    types = {
        (each.spec.environment, profile["name"]): str(profile["workloadProfileType"])
        for each in with_spec(items, ResourceSpec)
        if each.key.kind == Kind.ENVIRONMENT
        for profile in each.spec.body["properties"]["workloadProfiles"]
    }
    found = {}
    for app in with_spec(items, ContainerAppSpec):
        name = app.spec.body["properties"]["workloadProfileName"]
        one = _replica(app.spec, types.get((app.spec.environment, name), name), prices)
        if one is not None:
            found[app.key] = one
    return found


def _replica(spec: ContainerAppSpec, profile: str, prices: Prices) -> float | None:
    if profile != CONSUMPTION:
        return prices.replicas.get(profile)
    if prices.core is None or prices.gib is None:
        return None
    sizes = [each["resources"] for each in spec.template["containers"]]
    return sum(prices.core * float(s["cpu"]) + prices.gib * _gib(str(s["memory"])) for s in sizes)


def _gib(text: str) -> float:
    return float(text[:-2]) * _GIB[text[-2:]]
