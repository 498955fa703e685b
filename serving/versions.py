"""The state of each version in the adapter loop, its form in the replica's report, and what the
loop needs of an engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from serving.catalogue import Adapter, AdapterReason, AdapterReport, CanaryReport, Expectation
from serving.proof import NOT_TRIED, Proof
from serving.request.traffic import Traffic


@dataclass(eq=False)
class Version:
    """One loaded version of one public name. `pins` counts the requests that run on it; `id` is
    never used twice.
    """

    name: str
    digest: str
    path: Path
    id: int
    pins: int = 0
    replaced_at: float | None = None
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    load_seconds: float = 0.0
    proof: Proof = NOT_TRIED
    met: tuple[Expectation, ...] | None = None  # the evaluation that it was found to meet
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def key(self) -> str:
        return f"{self.name}@{self.digest[:12]}"


@dataclass(frozen=True)
class Route:
    """The versions that answer for a public name: `canary` for `weight` of a hundred calls,
    `stable` for the others.
    """

    stable: Version
    canary: Version | None = None
    weight: int = 0


@dataclass
class Failure:
    """Why a version cannot be served, and when it is tried again."""

    reason: AdapterReason
    message: str
    attempts: int
    retry_at: float


class LoraEngine(Protocol):
    """What the loop needs of an engine; serving/engine.py is vLLM's. `capacity` is how many
    adapters stay in memory.
    """

    capacity: int
    max_rank: int | None
    base_names: tuple[str, ...]

    def next_id(self) -> int: ...
    async def load(self, version: Version) -> None: ...
    async def unload(self, version: Version) -> None: ...
    async def prove(self, version: Version) -> Proof: ...
    async def evaluate(self, version: Version, evaluation: Sequence[Expectation]) -> str: ...
    def publish(self, name: str, route: Route | None) -> None: ...
    def busy(self, version: Version) -> bool: ...


Failures = Mapping[tuple[str, str], Failure]


def report(
    adapter: Adapter, served: Version | None, canary: Version | None, failures: Failures
) -> AdapterReport:
    """The version that answers for a name now and, if it is not the desired one, the reason."""
    desired = adapter.desired.digest
    told = _state(adapter.name, desired, served, failures)
    told |= {"digest": served.digest if served else None, **_traffic(served)}
    return AdapterReport(
        name=adapter.name, desired=desired, canary=_canary(adapter, canary, failures), **told
    )


def _canary(adapter: Adapter, version: Version | None, failures: Failures) -> CanaryReport | None:
    if adapter.canary is None:
        return None
    digest = adapter.canary.version.digest
    mine = version if version and version.digest == digest else None
    return CanaryReport(
        digest=digest, **_state(adapter.name, digest, mine, failures), **_traffic(mine)
    )


def _state(name: str, wanted: str, version: Version | None, failures: Failures) -> dict[str, Any]:
    if version and version.digest == wanted:
        proof = version.proof
        return {"state": "Loaded", "reason": proof.reason or "", "message": proof.message}
    failure = failures.get((name, wanted))
    if failure is None:
        return {"state": "Loading"}
    return {"state": "Failed", "reason": failure.reason, "message": failure.message}


def _traffic(version: Version | None) -> dict[str, Any]:
    if version is None:
        return {}
    return {
        "loaded_at": version.loaded_at,
        **version.traffic.report(),
    }
