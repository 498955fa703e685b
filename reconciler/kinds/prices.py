"""What a service, and the dedicated nodes of an Environment, cost in an hour, from a table of
prices that its user may replace. Pure but for `read`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """The price per hour of one service with its fewest and its most replicas, or of the dedicated
    nodes of an Environment. `unknown` are the types of nodes that the table does not have.
    """

    currency: str
    least: float
    most: float
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        low, high = f"{self.least:.2f}", f"{self.most:.2f}"
        return f"{low if low == high else f'{low} to {high}'} {self.currency} an hour"


@dataclass(frozen=True)
class Prices:
    """A table of prices per hour.

    replicas: of a replica, by type of serverless GPU profile.
    core, gib: of a core and a GiB on the Consumption profile.
    nodes: of a node, by type of dedicated profile.
    management: what an Environment with a dedicated profile pays besides.
    """

    currency: str = "EUR"
    replicas: Mapping[str, float] = field(default_factory=dict)
    core: float | None = None
    gib: float | None = None
    nodes: Mapping[str, float] = field(default_factory=dict)
    management: float = 0.0


# What one project paid for a replica in Sweden Central, everything included (docs/unverified.md).
# Nodes have no default price: Azure's prices differ by region and contract, and a wrong price is
# worse than none.
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
        core, gib = (None if value is None else _number(value) for value in (core, gib))
        nodes = {str(name): _number(value) for name, value in body.get("perNodeHour", {}).items()}
        management = _number(body.get("managementHour", 0))
        misplaced = [name for name in replicas if is_dedicated(name)]
        if misplaced:
            text = f"1:1: {misplaced[0]} is paid by the node: write it under perNodeHour"
            raise ValueError(text)
        return Prices(str(body["currency"]), replicas, core, gib, nodes, management)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.lineno}:{error.colno}: this is no JSON: {error.msg}") from None
    except (KeyError, TypeError, AttributeError, RecursionError):
        text = (
            "1:1: a table has currency, perReplicaHour and, if known, perCoreHour, perGiBHour,"
            " perNodeHour, managementHour"
        )
        raise ValueError(text) from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"1:1: {value!r} is no price")
    return float(value)


def is_dedicated(profile: str) -> bool:
    """Whether this type of workload profile is paid by the node, whatever runs on it."""
    return not profile.lower().startswith(("consumption", "flex"))


def hourly(desired: Iterable[Desired], prices: Prices) -> dict[ObjectKey, Price]:
    """The price of each container app whose profile the table knows, and of each Environment with
    dedicated nodes. An app on such nodes has none of its own.
    """
    items = list(desired)
    one = per_replica(items, prices)
    found = {}
    for each in _environments(items):
        profiles = each.spec.body["properties"]["workloadProfiles"]
        dedicated = [p for p in profiles if is_dedicated(str(p["workloadProfileType"]))]
        if dedicated:
            found[each.key] = _nodes(dedicated, prices)
    for app in with_spec(items, ContainerAppSpec):
        if app.key in one:
            scale = app.spec.template["scale"]
            least, most = (one[app.key] * int(scale[f"{word}Replicas"]) for word in ("min", "max"))
            found[app.key] = Price(prices.currency, round(least, 4), round(most, 4))
    return found


def unpriced(desired: Iterable[Desired], prices: Prices) -> dict[ObjectKey, str]:
    """The entries of a table that the price of a container app would need, and `prices` lacks."""
    items = list(desired)
    known = per_replica(items, prices)
    found = {}
    for app, profile in _profiles(items):
        if app.key not in known and not is_dedicated(profile):
            asked = f"perReplicaHour of {profile}"
            found[app.key] = "perCoreHour, perGiBHour" if profile == CONSUMPTION else asked
    return found


def per_replica(desired: Iterable[Desired], prices: Prices) -> dict[ObjectKey, float]:
    """What an hour of one replica costs, of each container app whose profile the table knows."""
    found = {}
    for app, profile in _profiles(list(desired)):
        one = _replica(app.spec, profile, prices)
        if one is not None:
            found[app.key] = one
    return found


def _profiles(items: Sequence[Desired]) -> Iterator[tuple[Desired[ContainerAppSpec], str]]:
    """Each container app with the type of its workload profile."""
    types = {
        (each.spec.environment, profile["name"]): str(profile["workloadProfileType"])
        for each in _environments(items)
        for profile in each.spec.body["properties"]["workloadProfiles"]
    }
    for app in with_spec(items, ContainerAppSpec):
        name = app.spec.body["properties"]["workloadProfileName"]
        yield app, types.get((app.spec.environment, name), name)


def _environments(items: Sequence[Desired]) -> list[Desired[ResourceSpec]]:
    return [each for each in with_spec(items, ResourceSpec) if each.key.kind == Kind.ENVIRONMENT]


def _nodes(profiles: Sequence[Mapping[str, Any]], prices: Prices) -> Price:
    least = most = prices.management
    unknown = []
    for profile in profiles:
        type_ = str(profile["workloadProfileType"])
        if type_ not in prices.nodes:
            unknown.append(type_)
            continue
        least += prices.nodes[type_] * int(profile.get("minimumCount") or 0)
        most += prices.nodes[type_] * int(profile.get("maximumCount") or 0)
    return Price(prices.currency, round(least, 4), round(most, 4), tuple(dict.fromkeys(unknown)))


def _replica(spec: ContainerAppSpec, profile: str, prices: Prices) -> float | None:
    if profile != CONSUMPTION:
        return None if is_dedicated(profile) else prices.replicas.get(profile)
    if prices.core is None or prices.gib is None:
        return None
    sizes = [each["resources"] for each in spec.template["containers"]]
    return sum(prices.core * float(s["cpu"]) + prices.gib * _gib(str(s["memory"])) for s in sizes)


def _gib(text: str) -> float:
    return float(text[:-2]) * _GIB[text[-2:]]
