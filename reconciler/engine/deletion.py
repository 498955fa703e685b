"""How an object ends that no document asks for any more: after a grace period, with permission,
and dependents first.
"""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.engine.deletion_order import goes_after
from reconciler.engine.errors import ReconcileError, WaitingForHuman
from reconciler.engine.events import normal
from reconciler.engine.external import Change, Gone, ObjectKey, Origin, Policy, Wrote
from reconciler.engine.ledger import Ledger
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Outcome
from reconciler.engine.writer import Writer

LEFT_ALONE = (Policy.OBSERVE, Policy.PAUSED, Policy.SKIP)
REMOVAL = Change("(object)", "(present)", None, "delete")


async def delete(writer: Writer, gone: Gone) -> Outcome:
    """One step towards the absence of `gone`.

    Raises:
        Exception: whatever the kind raised.
    """
    ledger = writer.ledger
    record = ledger.record(gone)
    left = gone.since + writer.pacing.grace - ledger.clock.elapsed()
    if never_made(record, gone) and gone.policy not in LEFT_ALONE:
        return Outcome(Phase.DELETED)
    if ledger.retained(gone.key) or gone.policy in LEFT_ALONE:
        return _leave(writer, gone, left)
    if _never_adopted(record):
        return Outcome(Phase.DELETED)
    deleting = record.operation is not None and record.verb == "delete"
    try:
        under_way = await writer.poll(gone)
    except ReconcileError:
        # Either the deletion failed, or the operation could not be polled and may still run.
        if deleting or record.operation == ledger.record(gone).operation:
            raise
        under_way = None  # the failed operation made something that nobody wants any more
    if under_way is not None:
        return under_way
    if deleting and ledger.record(gone).verb is not None:
        return _finished(writer, gone, Wrote("deleted"))
    # The operation has ended by now; only the decision to delete is still open.
    if left > 0 and not ledger.store.approved(
        gone.key, "delete"
    ):  # a person who approved it made no mistake
        message = (
            f"no document asks for {gone.key}; it is kept {writer.pacing.grace:.0f} s in case"
            " that was a mistake"
        )
        return Outcome(Phase.LINGERING, Reason.PROGRESSING, message, after=left)
    return await _delete_now(writer, gone)


def _leave(writer: Writer, gone: Gone, left: float) -> Outcome:
    """Leave the object in place and forget it. If its document still exists, this is an old version
    of a folder and there is no event. Otherwise the event is recorded when everything else of the
    document is deleted, because until then the document may come back.
    """
    ledger = writer.ledger
    if gone.document in ledger.documents:
        return Outcome(Phase.DELETED)
    message = f"no document asks for {gone.key}; it is left in place ({why_left(ledger, gone)})"
    if left > 0 and any(_goes(writer, key) for key in ledger.objects(gone.document)):
        return Outcome(Phase.LINGERING, Reason.RETAINED, message, after=left)
    return Outcome(
        Phase.RETAINED,
        Reason.RETAINED,
        message,
        event=normal(Reason.RETAINED, message, gone.key, gone.document),
    )


def why_left(ledger: Ledger, gone: Gone) -> str:
    """Why something that no document asks for stays."""
    if user := ledger.needed_by(gone.key):
        return f"{user} was there before, goes on and uses it"
    if other := ledger.also_asked_for_as(gone.key):
        return f"{other} is the same resource"
    return (
        "deletionPolicy is Retain"
        if ledger.retained(gone.key)
        else f"reconcilePolicy is {gone.policy.value}"
    )


def _goes(writer: Writer, key: ObjectKey) -> bool:
    gone = writer.ledger.gone.get(key)
    return gone is not None and gone.policy not in LEFT_ALONE and not writer.ledger.retained(key)


async def _delete_now(writer: Writer, gone: Gone) -> Outcome:
    ledger = writer.ledger
    verb = "release" if ledger.adopted(gone.key) else "delete"
    if not ledger.permits(gone, "delete"):
        if not await writer.kind(gone.key).exists(gone.identity):
            return _finished(writer, gone, None)  # somebody else deleted it: nobody need be asked
        raise WaitingForHuman(Reason.AWAITING_APPROVAL, f"would {verb} {gone.key}")
    # Azure refuses to delete what is in use, so its users go first.
    users = sorted(goes_after(ledger, gone.key))
    if users:
        names = ", ".join(map(str, users))
        return Outcome(
            Phase.WAITING, Reason.WAITING_FOR_REFERENCE, f"is deleted once {names} is gone"
        )
    with writer.permit(gone):
        wrote = await writer.kind(gone.key).delete(gone.identity)
    # No operation: the object is gone already, so there is nothing to poll.
    if wrote is None or wrote.operation is None:
        return _finished(writer, gone, wrote)
    writer.issued(gone, "delete", wrote, (REMOVAL,))
    message = wrote.message or f"{verb} {gone.key}"
    event = normal(Reason.DELETING, message, gone.key, gone.document)
    after = writer.pacing.look(wrote.operation.retry_after)
    return Outcome(Phase.DELETING, Reason.DELETING, message, after=after, event=event)


def _finished(writer: Writer, gone: Gone, wrote: Wrote | None) -> Outcome:
    """`wrote` is the write that ended, None if there was nothing to delete. A released object is
    remembered as retained: it goes on, and the objects it uses must stay.
    """
    if wrote and writer.ledger.adopted(gone.key):
        message = f"{gone.key} is released: it was there before any document and stays"
        event = normal(Reason.RELEASED, message, gone.key, gone.document)
        return Outcome(Phase.RETAINED, Reason.RELEASED, message, event=event)
    message = wrote.message if wrote else "was gone already"
    event = normal(Reason.DELETED, message or "deleted", gone.key, gone.document)
    return Outcome(Phase.DELETED, Reason.DELETED, message, event=event)


def never_made(record: ObjectRecord, gone: Gone) -> bool:
    """Whether it never existed: nothing was written, and a look did not find it or was not possible
    because it refers to an object of another set. An example is a wrong name that was corrected in
    time. An object that the inventory lists exists, even if nobody has looked at it.
    """
    looked = record.seen is not None or not gone.listed
    return looked and not record.exists and not record.writes and record.operation is None


def _never_adopted(record: ObjectRecord) -> bool:
    """Whether it still belongs to somebody else, because we never wrote to it."""
    return record.origin is Origin.FOREIGN and not record.written
