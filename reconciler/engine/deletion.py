"""The end of an object that no document wants any more: slowly, with permission, and dependents first."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.api.reasons import Reason
from reconciler.engine.errors import ReconcileError, WaitingForHuman
from reconciler.engine.events import normal
from reconciler.engine.external import Change, ObjectKey, Policy
from reconciler.engine.ledger import Gone
from reconciler.engine.reconcile import Writer
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Outcome

REMOVAL = Change("(object)", "(present)", None, "delete")


async def delete(writer: Writer, gone: Gone) -> Outcome:
    """One step towards the absence of `gone`.

    Raises:
        Exception: whatever the kind raised.

    """
    ledger, desired = writer.ledger, gone.desired
    record = ledger.record(desired)
    if writer.ledger.retained(desired.key) or desired.policy is not Policy.MANAGE:
        why = "deletionPolicy is Retain" if desired.policy is Policy.MANAGE else f"reconcilePolicy is {desired.policy.value}"
        event = normal("Retained", f"left in place ({why})", desired.key, desired.document)
        return Outcome(Phase.RETAINED, "Retained", f"left in place ({why})", event=event)
    if _never_made(record, gone):
        return Outcome(Phase.DELETED)
    deleting = record.operation is not None and record.verb == "delete"
    try:
        under_way = await writer.poll(desired)
    except ReconcileError:
        if deleting or record.operation == ledger.record(desired).operation:
            raise
        under_way = None  # the operation that failed made something nobody wants any more
    if under_way is not None:
        return under_way
    if deleting and ledger.record(desired).verb is not None:
        return _finished(gone, "deleted")
    left = gone.since + writer.pacing.grace - ledger.clock()
    if left > 0:
        message = f"no document asks for {desired.key}; it is kept {writer.pacing.grace:.0f} s in case that was a mistake"
        return Outcome(Phase.LINGERING, Reason.PROGRESSING, message, after=left)
    return await _delete_now(writer, gone)


async def _delete_now(writer: Writer, gone: Gone) -> Outcome:
    ledger, desired = writer.ledger, gone.desired
    if not ledger.permits(desired, "delete"):
        raise WaitingForHuman(Reason.AWAITING_APPROVAL, f"would delete {desired.key}")
    if not gone.certain:
        message = f"{desired.key} is deleted once the inventory names it"
        return Outcome(Phase.WAITING, Reason.NOT_OBSERVED, message, after=writer.pacing.slow)
    users = blockers(writer, desired.key)
    if users:
        names = ", ".join(map(str, users))
        return Outcome(Phase.WAITING, Reason.WAITING_FOR_REFERENCE, f"is deleted once {names} is gone")
    writer.check_gate(desired)
    wrote = await writer.kind(desired.key).delete(desired)
    if wrote is None or wrote.operation is None:
        return _finished(gone, wrote.message if wrote else "was gone already")
    writer.issued(desired, "delete", wrote, (REMOVAL,))
    message = wrote.message or f"deleting {desired.key}"
    event = normal(Reason.DELETING, message, desired.key, desired.document)
    return Outcome(Phase.DELETING, Reason.DELETING, message, after=writer.pacing.step(0.0), event=event)


def blockers(writer: Writer, key: ObjectKey) -> Sequence[ObjectKey]:
    """What still refers to `key` and must go first."""
    return sorted(writer.ledger.dependents(key))


def _finished(gone: Gone, message: str) -> Outcome:
    event = normal("Deleted", message or "deleted", gone.desired.key, gone.desired.document)
    return Outcome(Phase.DELETED, "Deleted", message, event=event)


def _never_made(record: ObjectRecord, gone: Gone) -> bool:
    """It was looked at, was not there, and nothing was written since: a name that was corrected before anything happened."""
    looked = record.seen is not None and not record.exists
    return gone.certain and looked and not record.writes and record.operation is None
