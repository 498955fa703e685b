"""Whether a canary is promoted, rolled back or still on trial. Pure: decided from the document, the
present catalogue and the reports of live replicas. adapter_catalogue.py writes the outcome into the
catalogue, where it stands until the document asks for something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from reconciler.api.decided import BY_HAND
from reconciler.api.reasons import Reason
from reconciler.api.resources import CatalogueAdapter, CatalogueCanary, Order
from reconciler.engine.fingerprint import fingerprint
from serving.catalogue import (
    Adapter,
    AdapterReason,
    AdapterVersion,
    Canary,
    CanaryReport,
    Held,
    ReplicaReport,
)

# Errors are measured against this many requests at least: one failure among three says little.
FEWEST = 20
# Reasons that will not change for the same bytes; any other may pass.
FINAL = frozenset(
    {
        AdapterReason.PREFLIGHT_FAILED,
        AdapterReason.LOAD_FAILED,
        AdapterReason.CORRUPT,
        AdapterReason.EVALUATION_FAILED,
        AdapterReason.NOT_FINITE,
        AdapterReason.BAD_NAME,
        AdapterReason.BAD_PATH,
        AdapterReason.NAME_TAKEN,
    }
)
SHORT = 12


class Ruling(NamedTuple):
    """How a trial ends, and why."""

    outcome: Literal["Promoted", "RolledBack"]
    message: str


def asked(adapter: CatalogueAdapter) -> str:
    """A digest of the adapter's entry in the document: a decision against the entry ends when the
    entry changes.
    """
    canary = replace(adapter.canary, path="", source="") if adapter.canary else None
    return fingerprint(adapter.name, adapter.digest, adapter.required, adapter.evaluation, canary)


def hold(
    adapter: CatalogueAdapter,
    before: Adapter | None,
    reports: Sequence[ReplicaReport],
    now: datetime,
    since: tuple[int, int] = (0, 0),
) -> Held | None:
    """The decision that stands against the document now. `before` is the adapter in the present
    catalogue, whose epoch and generation are `since`; `reports` come from live replicas.
    """
    words, order = asked(adapter), adapter.order
    standing = before.held if before and before.held and before.held.asked == words else None
    if (
        order
        and order.asked == words
        # A time that was written to the catalogue and read back may differ in its last digits.
        and (standing is None or order.at - standing.at.timestamp() > 0.0005)
    ):
        return _ordered(order, adapter, before)
    canary = adapter.canary
    if standing or canary is None or not _on_trial(canary, before):
        return standing
    ruling = _judged(_trial(adapter, canary, reports, since))
    return (
        Held(asked=words, outcome=ruling.outcome, message=ruling.message, at=now)
        if ruling
        else None
    )


def versions(
    adapter: CatalogueAdapter, before: Adapter | None, held: Held | None
) -> tuple[AdapterVersion, Canary | None]:
    """The version that the name stands for, and the one on trial beside it."""
    own, canary = AdapterVersion(digest=adapter.digest, path=adapter.path), adapter.canary
    if held is None:
        return own, (
            None
            if canary is None
            else Canary(
                version=AdapterVersion(digest=canary.digest, path=canary.path),
                weight=canary.weight,
                evaluation=canary.evaluation,
            )
        )
    if canary is not None:
        return (
            AdapterVersion(digest=canary.digest, path=canary.path)
            if held.outcome == "Promoted"
            else own
        ), None
    # An order without a canary: while it stands, so does the version that it chose.
    if before and before.held and before.held.asked == held.asked:
        return before.desired, None
    return (before.last_good if before and before.last_good else own), None


def explained(adapter: CatalogueAdapter, held: Held, version: AdapterVersion) -> tuple[Reason, str]:
    """The reason and the sentence for a held adapter, with the edit that would make the document
    ask for what is served.
    """
    reason = Reason.PROMOTED if held.outcome == "Promoted" else Reason.ROLLED_BACK
    edit = f"source: {source_of(adapter, version)}"
    without = " and take canary out" if adapter.canary else ""
    return (
        reason,
        (
            f"adapter {adapter.name}: {held.message}; write {edit}{without}, or change the adapter"
            " to try again"
        ),
    )


def source_of(adapter: CatalogueAdapter, version: AdapterVersion) -> str:
    """How a document names `version`: as it does now, or by its place on the share."""
    known = {adapter.digest: adapter.source}
    if adapter.canary:
        known[adapter.canary.digest] = adapter.canary.source
    return known.get(version.digest) or f"share://{version.path}"


def _on_trial(canary: CatalogueCanary, before: Adapter | None) -> bool:
    """Whether the present catalogue has told replicas of this very canary."""
    there = before.canary if before else None
    return there is not None and there.version.digest == canary.digest


def _ordered(order: Order, adapter: CatalogueAdapter, before: Adapter | None) -> Held | None:
    canary, words = adapter.canary, order.asked
    at = datetime.fromtimestamp(order.at, UTC)
    if order.action == "promote":
        if canary is None:
            return None  # the document's own version serves
        message = f"{canary.digest[:SHORT]} was promoted {BY_HAND}"
        return Held(asked=words, outcome="Promoted", message=message, at=at)
    if canary is None and not (before and before.last_good):
        return None
    message = f"{(canary or adapter).digest[:SHORT]} was rolled back {BY_HAND}"
    return Held(asked=words, outcome="RolledBack", message=message, at=at)


@dataclass(frozen=True)
class Trial:
    """What replicas report of a canary. `replicas` counts all live ones. `reports` has only those
    that have seen this catalogue: others may report an earlier trial of the same bytes.
    """

    canary: CatalogueCanary
    reports: Sequence[tuple[ReplicaReport, CanaryReport]]
    replicas: int

    @property
    def short(self) -> str:
        return self.canary.digest[:SHORT]

    @property
    def requests(self) -> int:
        return sum(mine.requests for _, mine in self.reports)

    @property
    def errors(self) -> int:
        return sum(mine.errors for _, mine in self.reports)


def _trial(
    adapter: CatalogueAdapter,
    canary: CatalogueCanary,
    reports: Sequence[ReplicaReport],
    since: tuple[int, int],
) -> Trial:
    seen = [
        (report, mine)
        for report in reports
        if (report.epoch or 0, report.generation or 0) >= since
        and (mine := _of(report, adapter.name, canary.digest))
    ]
    return Trial(canary, seen, len(reports))


def _judged(trial: Trial) -> Ruling | None:
    """The first rule that applies; None while the trial goes on."""
    return next((ruling for rule in RULES if (ruling := rule(trial))), None)


def _failed(trial: Trial) -> Ruling | None:
    """A replica cannot load it and never will."""
    for report, mine in trial.reports:
        if mine.state == "Failed" and mine.reason in FINAL:
            return _rolled_back(trial, f"{mine.reason} on {report.replica}: {mine.message}")
    return None


def _changes_nothing(trial: Trial) -> Ruling | None:
    for report, mine in trial.reports:
        if mine.reason == Reason.SAME_AS_BASE:
            return _rolled_back(trial, f"it answers like the base model ({report.replica})")
    return None


def _fails_requests(trial: Trial) -> Ruling | None:
    rate = trial.canary.max_error_rate
    if trial.errors <= rate * max(trial.requests, FEWEST):
        return None
    allowed = f"{rate:.1%} of at least {FEWEST} are allowed"
    return _rolled_back(trial, f"{trial.errors} of {trial.requests} requests failed, {allowed}")


def _served_long_enough(trial: Trial) -> Ruling | None:
    """Every replica has it loaded, and one of them for as long as the document asks."""
    # The replica that has served longest decides. If the youngest did, every scale-out would delay
    # the promotion.
    after = trial.canary.promote_after
    times = [_served_for(*each) for each in trial.reports if each[1].state == "Loaded"]
    everywhere = bool(times) and len(times) == trial.replicas
    if after is None or not everywhere or max(times) < timedelta(seconds=after):
        return None
    counts = f"{trial.requests} requests, {trial.errors} failed"
    return Ruling("Promoted", f"{trial.short} was promoted: {counts}, well for {after} s")


def _rolled_back(trial: Trial, why: str) -> Ruling:
    return Ruling("RolledBack", f"{trial.short} was rolled back: {why}")


RULES = (_failed, _changes_nothing, _fails_requests, _served_long_enough)


def _of(report: ReplicaReport, name: str, digest: str) -> CanaryReport | None:
    found = next((adapter.canary for adapter in report.adapters if adapter.name == name), None)
    return found if found and found.digest == digest else None


def _served_for(report: ReplicaReport, mine: CanaryReport) -> timedelta:
    """How long the replica has served the canary, by its own clock."""
    return report.heartbeat - mine.loaded_at if mine.loaded_at else timedelta()
