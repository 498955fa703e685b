"""What each revision and each version of an adapter has answered: requests, errors and the time to
the first token, from what replicas report of themselves. Pure; `service_view` calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reconciler.api.outputs import AppOutputs, ReplicaRow
from serving.catalogue import AdapterReport, CanaryReport, FirstTokens, TrafficReport

SHORT = 8  # hexadecimal digits of a digest, enough to tell two versions apart


class AnsweredSum(NamedTuple):
    """The sum over `replicas`. `median` and `p95` are seconds to the first token of the newest
    answers, of the slowest replica; None where nothing was generated.
    """

    replicas: int = 0
    requests: int = 0
    errors: int = 0
    median: float | None = None
    p95: float | None = None


class VersionTraffic(NamedTuple):
    """One version of an adapter. `role` says why it answers."""

    adapter: str
    digest: str
    role: str
    answered: AnsweredSum


def by_revision(app: AppOutputs) -> dict[str, AnsweredSum]:
    """Of revisions with a replica that reports; code of a user's own reports nothing."""
    found: dict[str, list[TrafficReport]] = {}
    for replica in app.replicas:
        if replica.traffic is not None:
            found.setdefault(replica.revision, []).append(replica.traffic)
    return {name: _sum(reports) for name, reports in found.items()}


def by_version(app: AppOutputs, weights: dict[str, int]) -> tuple[VersionTraffic, ...]:
    """Every version that answers on some replica, adapters in the order of the reports. `weights`
    are the percentages of canaries, by adapter.
    """
    found: dict[tuple[str, str, str], list[TrafficReport]] = {}
    for adapter in _adapters(app.replicas):
        if adapter.digest:
            role = "serves" if adapter.digest == adapter.desired else "former version serves"
            found.setdefault((adapter.name, adapter.digest, role), []).append(_plain(adapter))
        if adapter.canary and adapter.canary.state == "Loaded":
            role = f"canary on {weights.get(adapter.name, 0)} %"
            whose = (adapter.name, adapter.canary.digest, role)
            found.setdefault(whose, []).append(_plain(adapter.canary))
    order = list(dict.fromkeys(name for name, _, _ in found))
    rows = [
        VersionTraffic(name, digest[:SHORT], role, _sum(reports))
        for (name, digest, role), reports in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: (order.index(row.adapter), "canary" in row.role)))


def _adapters(replicas: Sequence[ReplicaRow]) -> Iterable[AdapterReport]:
    return (adapter for replica in replicas for adapter in replica.adapters)


def _plain(one: AdapterReport | CanaryReport) -> TrafficReport:
    return TrafficReport(requests=one.requests, errors=one.errors, first_tokens=one.first_tokens)


def _sum(reports: Sequence[TrafficReport]) -> AnsweredSum:
    waits: list[FirstTokens] = [each.first_tokens for each in reports if each.first_tokens]
    return AnsweredSum(
        len(reports),
        sum(each.requests for each in reports),
        sum(each.errors for each in reports),
        max((each.median for each in waits), default=None),
        max((each.p95 for each in waits), default=None),
    )
