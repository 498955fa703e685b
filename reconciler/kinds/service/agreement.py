"""Do all live replicas serve what the catalogue says? Pure. `AdaptersLoaded` is true only if every
replica reports so itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.outputs import CatalogueOutputs, SeenReplica
from reconciler.api.reasons import Reason
from reconciler.engine.external import Mark
from serving.catalogue import CanaryReport, ReplicaReport

CONDITION = ConditionType.ADAPTERS_LOADED
PROOFS = (Reason.PROVEN, Reason.SAME_AS_BASE)


def agreement(
    replicas: Sequence[SeenReplica],
    reports: Mapping[str, ReplicaReport],
    catalogue: CatalogueOutputs | None,
    *,
    asleep: bool,
    served: Collection[str] = (),
) -> Mark:
    """The mark for `replicas` (as ARM lists them) and their fresh `reports` by name against the
    catalogue's outputs. `served` are the adapters that were served before.
    """
    if asleep:
        return Mark(CONDITION, Status.UNKNOWN, Reason.SCALED_TO_ZERO, "no replica runs")
    if not replicas or not catalogue:
        return Mark(CONDITION, Status.UNKNOWN, Reason.NOT_OBSERVED, "no replica has reported yet")
    # Ordered by how little is known, starting with silent replicas, which may serve anything.
    missing = [replica.name for replica in replicas if replica.name not in reports]
    if missing:
        return Mark(
            CONDITION,
            Status.UNKNOWN,
            Reason.REPORT_STALE,
            f"no fresh report from {', '.join(missing)}",
        )
    mine = [reports[replica.name] for replica in replicas]
    torn = [f"{report.replica}: {report.unreadable}" for report in mine if report.unreadable]
    if torn:
        return Mark(CONDITION, Status.UNKNOWN, Reason.REPORT_UNREADABLE, "; ".join(torn[:3]))
    # Worse than an adapter that was never loaded: callers used it and now get 404.
    lost = [
        f"{report.replica} serves no version of {adapter.name}{_why(adapter.message)}"
        for report in mine
        for adapter in report.adapters
        if adapter.name in served and adapter.state == "Failed" and not adapter.digest
    ]
    if lost:
        return Mark(CONDITION, Status.FALSE, Reason.ADAPTER_NOT_SERVED, "; ".join(lost[:3]))
    problems = [problem for report in mine for problem in _problems(report, catalogue)]
    if problems:
        failed = any(adapter.state == "Failed" for report in mine for adapter in report.adapters)
        return Mark(
            CONDITION,
            Status.FALSE,
            Reason.ADAPTER_FAILED if failed else Reason.LOADING,
            "; ".join(problems[:3]),
        )
    count = len(catalogue.adapters)
    return Mark(
        CONDITION,
        Status.TRUE,
        Reason.LOADED,
        f"{count} adapters on {len(mine)} of {len(mine)} replicas",
    )


def _problems(report: ReplicaReport, catalogue: CatalogueOutputs) -> Iterator[str]:
    """What one replica lacks, in sentences."""
    seen, wanted = (
        (report.epoch or 0, report.generation or 0),
        (catalogue.epoch, catalogue.generation),
    )
    # Its report is about an older catalogue.
    if seen < wanted:
        yield f"{report.replica} has seen catalogue {seen[1]} of {wanted[1]}"
        return
    have = {adapter.name: adapter for adapter in report.adapters}
    for adapter in catalogue.adapters:
        mine = have.get(adapter.name)
        if mine is None:
            yield f"{report.replica} does not have {adapter.name} yet"
        elif mine.state != "Loaded" or not _same(mine.digest, adapter.digest):
            serving = f", serving {mine.digest[:12]}" if mine.digest else ""
            yield (
                f"{report.replica} has {adapter.name}"
                f" {mine.state.lower()}{serving}{_why(mine.message)}"
            )
        elif (canary := adapter.canary) and not (mine.canary and mine.canary.state == "Loaded"):
            said = mine.canary or CanaryReport(digest=canary.digest, state="Loading")
            yield (
                f"{report.replica} has the canary of {adapter.name}"
                f" {said.state.lower()}{_why(said.message)}"
            )


def _why(message: str) -> str:
    return f": {message}" if message else ""


def _same(one: str | None, other: str) -> bool:
    """Digests are shown short and long; one must begin with the other."""
    return one is not None and (one.startswith(other) or other.startswith(one))


def proof(reports: Mapping[str, ReplicaReport]) -> Mark | None:
    """Do the loaded adapters change the model's answers? None while nothing was tried."""
    # Only loaded ones: an adapter on its way answers like the model and proves nothing.
    tried = [
        (r.replica, a)
        for r in reports.values()
        for a in r.adapters
        if a.state == "Loaded" and a.reason in PROOFS
    ]
    if not tried:
        return None
    same = [
        f"{adapter.name} on {replica}"
        for replica, adapter in tried
        if adapter.reason == Reason.SAME_AS_BASE
    ]
    if same:
        message = f"answers like the base model: {', '.join(same)}"
        return Mark(ConditionType.ADAPTER_PROVEN, Status.FALSE, Reason.SAME_AS_BASE, message)
    return Mark(
        ConditionType.ADAPTER_PROVEN,
        Status.TRUE,
        Reason.PROVEN,
        "fixed prompts are answered differently with each adapter than without",
    )
