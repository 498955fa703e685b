"""What becomes of a canary: promoted, rolled back, or on trial still. Pure: decided from the
document, the catalogue as it is and what live replicas report; adapter_catalogue.py writes the
outcome down, where it stands until the document asks for something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from reconciler.api.reasons import Reason
from reconciler.api.resources import CatalogueAdapter
from reconciler.engine.fingerprint import fingerprint
from serving.catalogue import Adapter, AdapterVersion, Canary, CanaryReport, Held, ReplicaReport

FEWEST = (
    20  # requests that errors are measured against at least: one failure among three says little
)
# What a replica will say again of the same bytes; anything else may pass.
FINAL = frozenset(
    {
        "PreflightFailed",
        "LoadFailed",
        "Corrupt",
        "EvaluationFailed",
        "NotFinite",
        "BadName",
        "BadPath",
        "NameTaken",
    }
)
SHORT = 12
Outcome = Literal["Promoted", "RolledBack"]


def asked(adapter: CatalogueAdapter) -> str:
    """A digest of the document's words on an adapter: a decision against them ends when they
    change.
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
    """The decision that stands against the document now. `before` is the adapter in the catalogue
    so far, whose epoch and generation are `since`; `reports` are those of live replicas.
    """
    words, order = asked(adapter), adapter.order
    standing = before.held if before and before.held and before.held.asked == words else None
    if (
        order
        and order.asked == words
        and (standing is None or order.at - standing.at.timestamp() > 0.0005)
    ):
        return _ordered(adapter, before, words)
    if standing or not _on_trial(adapter, before):
        return standing
    judged = _judged(adapter, reports, since)
    return Held(asked=words, outcome=judged[0], message=judged[1], at=now) if judged else None


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
    if before and before.held and before.held.asked == held.asked:
        return before.desired, None
    return (before.last_good if before and before.last_good else own), None


def explained(adapter: CatalogueAdapter, held: Held, version: AdapterVersion) -> tuple[Reason, str]:
    """The reason and the sentence for a held adapter, with the edit that would make the document
    say what is.
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


def _on_trial(adapter: CatalogueAdapter, before: Adapter | None) -> bool:
    """Whether replicas have been told of this very canary."""
    there = before.canary if before else None
    return (
        adapter.canary is not None
        and there is not None
        and there.version.digest == adapter.canary.digest
    )


def _ordered(adapter: CatalogueAdapter, before: Adapter | None, words: str) -> Held | None:
    order, canary = adapter.order, adapter.canary
    assert order is not None
    at = datetime.fromtimestamp(order.at, UTC)
    if order.action == "promote":
        if canary is None:
            return None  # the document's own version it is
        message = f"{canary.digest[:SHORT]} was promoted by hand"
        return Held(asked=words, outcome="Promoted", message=message, at=at)
    if canary is None and not (before and before.last_good):
        return None
    message = f"{(canary or adapter).digest[:SHORT]} was rolled back by hand"
    return Held(asked=words, outcome="RolledBack", message=message, at=at)


def _judged(
    adapter: CatalogueAdapter, reports: Sequence[ReplicaReport], since: tuple[int, int]
) -> tuple[Outcome, str] | None:
    """The outcome and why; None while the trial goes on. A replica that has not seen this catalogue
    may speak of an earlier trial of the same bytes.
    """
    canary = adapter.canary
    assert canary is not None
    following = [
        report for report in reports if (report.epoch or 0, report.generation or 0) >= since
    ]
    seen = [
        (report, mine) for report in following if (mine := _of(report, adapter.name, canary.digest))
    ]
    short = canary.digest[:SHORT]
    for report, mine in seen:
        if mine.state == "Failed" and mine.reason in FINAL:
            return (
                "RolledBack",
                f"{short} was rolled back: {mine.reason} on {report.replica}: {mine.message}",
            )
        if mine.reason == Reason.SAME_AS_BASE:
            return (
                "RolledBack",
                f"{short} was rolled back: it answers like the base model ({report.replica})",
            )
    requests, errors = sum(mine.requests for _, mine in seen), sum(mine.errors for _, mine in seen)
    if errors > canary.max_error_rate * max(requests, FEWEST):
        allowed = f"{canary.max_error_rate:.1%} of at least {FEWEST} are allowed"
        return (
            "RolledBack",
            f"{short} was rolled back: {errors} of {requests} requests failed, {allowed}",
        )
    loaded = [_served_for(report, mine) for report, mine in seen if mine.state == "Loaded"]
    well = bool(loaded) and len(loaded) == len(reports)
    if (
        canary.promote_after is not None
        and well
        and max(loaded) >= timedelta(seconds=canary.promote_after)
    ):
        return (
            "Promoted",
            (
                f"{short} was promoted: {requests} requests, {errors} failed, well for"
                f" {canary.promote_after} s"
            ),
        )
    return None


def _of(report: ReplicaReport, name: str, digest: str) -> CanaryReport | None:
    found = next((adapter.canary for adapter in report.adapters if adapter.name == name), None)
    return found if found and found.digest == digest else None


def _served_for(report: ReplicaReport, mine: CanaryReport) -> timedelta:
    """By the replica's own clock."""
    return report.heartbeat - mine.loaded_at if mine.loaded_at else timedelta()
