"""Whether the loop has done all it can, and how well: the exit class of one-shot commands. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from reconciler.api.reasons import Reason
from reconciler.engine.deletion_order import goes_after
from reconciler.engine.document_state import DocumentRefusal
from reconciler.engine.external import ObjectKey
from reconciler.engine.ledger import Ledger
from reconciler.engine.record import ObjectRecord, Phase


class ExitClass(IntEnum):
    """The exit codes that the loop can account for."""

    DONE = 0
    FAILED = 1
    WAITING_FOR_HUMAN = 4


_OF_PHASE = {
    Phase.READY: ExitClass.DONE,
    Phase.SKIPPED: ExitClass.DONE,
    Phase.STALLED: ExitClass.FAILED,
    Phase.NOT_CONVERGING: ExitClass.FAILED,
    Phase.BLOCKED: ExitClass.WAITING_FOR_HUMAN,
}
HELD = (Reason.ROLLED_BACK, Reason.PROMOTED)  # it serves, and the document asks for something else
# Reasons that need a person once they have lasted so many seconds. Before, they may pass: the GPU
# of a replica that ends may still count against the quota, and the name of a new environment may
# not be known everywhere yet.
ASKING = {
    Reason.AWAITING_PROMOTION: 0.0,
    Reason.REPLICAS_MISSING: 30.0,
    Reason.OUT_OF_REACH: 60.0,
}
_WORSE = [ExitClass.DONE, ExitClass.WAITING_FOR_HUMAN, ExitClass.FAILED]


def verdict(ledger: Ledger) -> ExitClass | None:
    """The worst class over all objects and refusals; None while anything may still change by
    itself.
    """
    found = [_of_desired(ledger, key) for key in ledger.desired] + [
        _of_gone(ledger, key) for key in ledger.gone
    ]
    found += [_of_refusal(state.refusal) for state in ledger.documents.values() if state.refusal]
    return None if None in found else _worst(found)


def stands(ledger: Ledger, key: ObjectKey) -> bool:
    """Whether a desired object makes no progress by itself, or waits for one that makes none."""
    return _of_desired(ledger, key) in (ExitClass.FAILED, ExitClass.WAITING_FOR_HUMAN)


def _of_refusal(refusal: DocumentRefusal) -> ExitClass | None:
    """A source that is being fetched arrives by itself. A folder that a person must provide does
    not.
    """
    if not refusal.waits:
        return ExitClass.FAILED
    return ExitClass.WAITING_FOR_HUMAN if refusal.reason is Reason.MISSING else None


def _of_desired(ledger: Ledger, key: ObjectKey) -> ExitClass | None:
    record = ledger.records.get(key)
    if record is None or key in ledger.pending:
        return None
    # Nothing is written to an object that is only observed, so there is nothing to wait for. One
    # that is missing only a person can bring, and with it what waits for it.
    if record.phase is Phase.UNREADY and ledger.desired[key].policy.watches:
        return ExitClass.DONE if record.exists else ExitClass.WAITING_FOR_HUMAN
    if record.failed and record.phase in (Phase.READY, Phase.UNREADY):
        return ExitClass.FAILED
    if record.phase is Phase.READY and record.reason in HELD:
        return ExitClass.WAITING_FOR_HUMAN
    if record.phase is Phase.UNREADY and _asks(ledger, record):
        return ExitClass.WAITING_FOR_HUMAN
    if record.phase is Phase.READY and not record.synced and not ledger.desired[key].policy.watches:
        return None  # a part of it is still to come
    if record.phase is not Phase.WAITING:
        return _OF_PHASE.get(record.phase)
    # A waiting object makes no progress only if that holds for all references that it waits for and
    # one of them is not well. If all are well, the object goes on by itself.
    unready = ledger.unready(ledger.desired[key])
    reasons = [
        _of_desired(ledger, ref) if ref in ledger.desired else ExitClass.FAILED for ref in unready
    ]
    return (
        None
        if not reasons or None in reasons or _worst(reasons) is ExitClass.DONE
        else _worst(reasons)
    )


def _asks(ledger: Ledger, record: ObjectRecord) -> bool:
    """Whether the object serves but needs a person to become what the document asks for."""
    lasted = ledger.clock.elapsed() - record.since
    return any(record.reason is r and lasted >= least for r, least in ASKING.items())


def _of_gone(ledger: Ledger, key: ObjectKey) -> ExitClass | None:
    record = ledger.records.get(key)
    if record is None:
        return None
    if record.phase is Phase.LINGERING and ledger.retained(key):
        return ExitClass.DONE
    if record.phase is Phase.WAITING:
        users = [
            _of_gone(ledger, other) for other in goes_after(ledger, key) if other in ledger.gone
        ]
        return None if not users or None in users else _worst(users)
    return _OF_PHASE.get(record.phase)


def _worst(classes: Iterable[ExitClass | None]) -> ExitClass:
    return max(
        (found for found in classes if found is not None), key=_WORSE.index, default=ExitClass.DONE
    )
