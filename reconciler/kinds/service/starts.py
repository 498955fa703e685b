"""How long the cold starts of a service took, and what the next one should take by that. Pure;
replicas.py remembers starts, route_view.py tells gateways of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from reconciler.api.outputs import SeenReplica, SeenStart
from serving.catalogue import ReplicaReport, Stage
from serving.gateway.learning import RECENT, corrected
from serving.gateway.routes import StartPrediction, StartSeen

_LONGEST = 86_400.0


def remembered(
    before: Sequence[SeenStart],
    replicas: Iterable[SeenReplica],
    reports: Mapping[str, ReplicaReport],
    published: int,
) -> tuple[SeenStart, ...]:
    """The newest starts, with those that these replicas have completed. A container that restarted
    had its image already, so it says nothing about a cold start.
    """
    known = {(each.replica, each.began) for each in before}
    found = [*before]
    for replica in replicas:
        report = reports.get(replica.name)
        if report is None or replica.restarts or (replica.name, _began(report)) in known:
            continue
        if start := _start(replica, report, published):
            found.append(SeenStart(replica.name, _began(report), start))
    return tuple(found[-RECENT:])


def expected(
    published: StartPrediction, starts: Iterable[SeenStart], own: ReplicaReport | None = None
) -> StartPrediction:
    """How long a start should take, by the starts seen so far. The start of the replica `own` does
    not count.
    """
    mine = (own.replica, _began(own)) if own is not None else None
    others = [each.start for each in starts if (each.replica, each.began) != mine]
    return corrected(published, others)


def ready_after(replica: SeenReplica, report: ReplicaReport) -> float | None:
    """Seconds from the replica's creation by Azure, the image's pull included, until it was ready
    for the first time.
    """
    created = created_at(replica)
    if created is None or report.ready_at is None:
        return None
    return round((report.ready_at - created).total_seconds(), 1)


def created_at(replica: SeenReplica) -> datetime | None:
    try:
        created = datetime.fromisoformat(str(replica.created_time))
    except ValueError:
        return None
    return created if created.tzinfo else created.replace(tzinfo=UTC)


def _start(replica: SeenReplica, report: ReplicaReport, published: int) -> StartSeen | None:
    seconds, created = ready_after(replica, report), created_at(replica)
    if seconds is None or created is None or not 0 < seconds <= _LONGEST:
        return None
    # A replica's own times may be nonsense, so they are bounded by what Azure has seen.
    before = min(seconds, max(0.0, round((report.started_at - created).total_seconds(), 1)))
    stages: dict[Stage, float] = {"image": before, **report.stages} if report.stages else {}
    return StartSeen(seconds=seconds, told=published, published=published, stages=stages)


def _began(report: ReplicaReport) -> str:
    return report.started_at.isoformat()
