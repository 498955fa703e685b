"""The conditions of a document, derived from the records of its objects. Pure; one function for
each condition. `summary` calls them and writes the conditions.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import Cause, Reason
from reconciler.engine.document_state import DocumentState
from reconciler.engine.external import Mark, ObjectKey, Origin
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import FAILING

# Which object's message is shown when several have one: the gravest first.
GRAVITY = [
    Phase.STALLED,
    Phase.NOT_CONVERGING,
    Phase.BLOCKED,
    Phase.RETRYING,
    Phase.DELETING,
    Phase.LINGERING,
    Phase.UNREADY,
    Phase.WORKING,
    Phase.PENDING,
    Phase.WAITING,
    Phase.SKIPPED,
    Phase.READY,
    Phase.RETAINED,
    Phase.DELETED,
]
OWN = {
    ConditionType.READY,
    ConditionType.SYNCED,
    ConditionType.STALLED,
    ConditionType.PROGRESSING,
    ConditionType.DRIFTED,
}
# While one of these conditions is not True, Ready takes over its status, reason and message. The
# reasons beside a condition are exceptions: with them, what served before still serves.
STANDS_FOR: dict[ConditionType, frozenset[Reason]] = {
    ConditionType.REVISION_HEALTHY: frozenset(),
    ConditionType.MODEL_LOADED: frozenset({Reason.SCALED_TO_ZERO}),
    ConditionType.ADAPTERS_LOADED: frozenset(
        {
            Reason.SCALED_TO_ZERO,
            Reason.LOADING,
            Reason.ADAPTER_FAILED,
            Reason.NOT_OBSERVED,
            Reason.REPORT_STALE,
            Reason.REPORT_UNREADABLE,
        }
    ),
    ConditionType.ENDPOINT_REACHABLE: frozenset(),
}
_STUCK = {Phase.STALLED, Phase.NOT_CONVERGING, Phase.BLOCKED}
_STILL = FAILING | {Reason.AWAITING_PROMOTION, Reason.OBSERVE_ONLY}
_MOVING = {
    Phase.RETRYING,
    Phase.DELETING,
    Phase.LINGERING,
    Phase.UNREADY,
    Phase.WORKING,
    Phase.PENDING,
    Phase.WAITING,
}
_WORST = [Status.FALSE, Status.UNKNOWN, Status.TRUE]
_SHOWN = 3


def stalled(state: DocumentState, records: Iterable[ObjectRecord]) -> Mark:
    refusal = state.refusal
    if refusal and not refusal.waits:
        return Mark(ConditionType.STALLED, Status.TRUE, refusal.reason, refusal.message)
    stalled = [record for record in records if record.phase is Phase.STALLED]
    if stalled:
        reason = stalled[0].reason or Reason.INTERNAL_ERROR
        return Mark(ConditionType.STALLED, Status.TRUE, reason, _messages(stalled))
    return Mark(ConditionType.STALLED, Status.FALSE, Reason.NOT_STALLED)


def synced(
    state: DocumentState, records: Sequence[ObjectRecord], leaving: Sequence[ObjectRecord]
) -> Mark:
    if state.refusal:
        reason, message = state.refusal.reason, state.refusal.message
        return Mark(ConditionType.SYNCED, Status.FALSE, reason, message)
    # An object that is written but does not serve yet keeps the document out of sync. It is named
    # only if nothing else is behind, because what waits for it says more.
    unready = [record for record in records if record.phase is Phase.UNREADY]
    behind = [
        record for record in records if not record.synced and record.phase is not Phase.SKIPPED
    ] or unready
    if behind:
        gravest = min(GRAVITY.index(record.phase) for record in behind)
        first = [record for record in behind if GRAVITY.index(record.phase) == gravest]
        reason = first[0].reason or Reason.PROGRESSING
        return Mark(ConditionType.SYNCED, Status.FALSE, reason, _messages(first))
    if leaving:
        return departing(leaving)
    if records and all(record.phase is Phase.SKIPPED for record in records):
        return Mark(ConditionType.SYNCED, Status.UNKNOWN, Reason.SKIPPED, "reconcilePolicy is Skip")
    return Mark(ConditionType.SYNCED, Status.TRUE, Reason.IN_SYNC)


def progressing(
    state: DocumentState, records: Iterable[ObjectRecord], standing: Container[ObjectKey] = ()
) -> Mark:
    """True while the loop changes something by itself; otherwise the message says why not.
    `standing` are the objects that make no progress by themselves.
    """
    if refusal := state.refusal:
        # A source that is being fetched is progress. One that a person must provide first is not.
        waits = Status.of(refusal.waits and refusal.reason is not Reason.MISSING)
        return Mark(ConditionType.PROGRESSING, waits, refusal.reason, refusal.message)
    moving = [
        record
        for record in records
        if record.phase in _MOVING
        or (record.phase is Phase.READY and record.reason == Reason.PROGRESSING)
    ]
    stuck = [
        record
        for record in records
        if record.phase in _STUCK
        or (record.phase is Phase.WAITING and record.key in standing)
        or (record.phase is Phase.UNREADY and record.reason in _STILL)
    ]
    if not moving and not stuck:
        return Mark(ConditionType.PROGRESSING, Status.FALSE, Reason.IN_SYNC)
    worst = min(stuck or moving, key=lambda record: (GRAVITY.index(record.phase), record.key))
    status, reason = Status.of(not stuck), worst.reason or Reason.PROGRESSING
    return Mark(ConditionType.PROGRESSING, status, reason, _messages([worst]))


def against(marks: Iterable[Mark]) -> Mark | None:
    """The gravest of the conditions that Ready stands for and that do not hold."""
    broken = [
        mark
        for mark in marks
        if mark.type in STANDS_FOR
        and mark.status is not Status.TRUE
        and mark.reason not in STANDS_FOR[mark.type]
    ]
    return min(broken, key=lambda mark: _WORST.index(mark.status), default=None)


def departing(leaving: Sequence[ObjectRecord]) -> Mark:
    """Objects that no document asks for any more keep theirs out of sync until they are gone."""
    asking = [record for record in leaving if record.reason == Reason.AWAITING_APPROVAL]
    if asking:
        ends = {
            "delete": [r for r in asking if r.origin is Origin.OURS],
            "release": [r for r in asking if r.origin is not Origin.OURS],
        }
        would = " and ".join(
            f"{verb} {', '.join(str(r.key) for r in records)}"
            for verb, records in ends.items()
            if records
        )
        message = f"would {would}; `moorage approve` or prune: true lets it"
        return Mark(ConditionType.SYNCED, Status.FALSE, Reason.AWAITING_APPROVAL, message)
    if not leaving:
        return Mark(ConditionType.SYNCED, Status.FALSE, Reason.DELETING)
    worst = min(
        leaving, key=lambda record: (GRAVITY.index(record.phase), record.reason is Reason.RETAINED)
    )
    reason = worst.reason if worst.phase in (Phase.STALLED, Phase.BLOCKED, Phase.RETRYING) else None
    return Mark(ConditionType.SYNCED, Status.FALSE, reason or Reason.DELETING, _messages([worst]))


def drifted(records: Iterable[ObjectRecord]) -> Mark:
    drifted = [record for record in records if record.drifted]
    if not drifted:
        return Mark(ConditionType.DRIFTED, Status.FALSE, Reason.NO_DRIFT)
    message = "; ".join(
        f"{record.key}: {', '.join(record.changes[:_SHOWN])}" for record in drifted[:_SHOWN]
    )
    return Mark(ConditionType.DRIFTED, Status.TRUE, Reason.DRIFT_FOUND, message)


def kinds_own(records: Iterable[ObjectRecord]) -> list[Mark]:
    """The conditions that kinds set; where several objects set the same one, the worst counts."""
    known = {kind.value for kind in ConditionType if kind not in OWN}
    worst: dict[str, Mark] = {}
    for mark in (mark for record in records for mark in record.marks if mark.type in known):
        before = worst.get(mark.type)
        if before is None or _WORST.index(Status(mark.status)) < _WORST.index(
            Status(before.status)
        ):
            worst[mark.type] = mark
    return [
        Mark(ConditionType(kind), Status(mark.status), mark.reason, mark.message)
        for kind, mark in worst.items()
    ]


def why_not(record: ObjectRecord) -> tuple[Cause, str]:
    if record.reason in (None, Reason.IN_SYNC):
        failed = [mark for mark in record.marks if mark.status is Status.FALSE]
        return (
            (failed[0].reason, failed[0].message)
            if failed
            else (Reason.PROGRESSING, f"{record.key} is not ready yet")
        )
    return record.reason, record.message


def _messages(records: Sequence[ObjectRecord]) -> str:
    texts = list(
        dict.fromkeys(record.message or f"{record.key} is not looked at yet" for record in records)
    )
    more = f" (and {len(texts) - _SHOWN} more)" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more
