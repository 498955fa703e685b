"""The end of an object that no document wants any more: slowly, with permission, and dependents
first.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from reconciler.api.reasons import Reason
from reconciler.engine.errors import ReconcileError, WaitingForHuman
from reconciler.engine.events import normal
from reconciler.engine.external import Change, Desired, ObjectKey, Origin, Policy, Wrote
from reconciler.engine.ledger import Gone, Ledger
from reconciler.engine.reconcile import Writer
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Outcome

log = structlog.get_logger(__name__)
LEFT_ALONE = (Policy.OBSERVE, Policy.SKIP)
REMOVAL = Change("(object)", "(present)", None, "delete")


async def delete(writer: Writer, gone: Gone) -> Outcome:
    """One step towards the absence of `gone`.

    Raises:
        Exception: whatever the kind raised.
    """
    ledger, desired = writer.ledger, gone.desired
    record = ledger.record(desired)
    left = gone.since + writer.pacing.grace - ledger.clock.elapsed()
    if ledger.retained(desired.key) or desired.policy in LEFT_ALONE:
        return _leave(writer, desired, left)
    if _never_made(record, gone) or _never_adopted(record):
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
        return _finished(writer, gone, Wrote("deleted"))
    if left > 0 and not ledger.store.approved(
        desired.key, "delete"
    ):  # a person who approved it made no mistake
        message = (
            f"no document asks for {desired.key}; it is kept {writer.pacing.grace:.0f} s in case"
            " that was a mistake"
        )
        return Outcome(Phase.LINGERING, Reason.PROGRESSING, message, after=left)
    return await _delete_now(writer, gone)


def _leave(writer: Writer, desired: Desired, left: float) -> Outcome:
    """It stays where it is and is forgotten. That is worth an event only if its document is gone,
    too (else the next version of a folder takes its place), and when all that goes of the document
    has gone: until then it may come back.
    """
    ledger = writer.ledger
    if desired.document in ledger.documents:
        return Outcome(Phase.DELETED)
    message = (
        f"no document asks for {desired.key}; it is left in place ({why_left(ledger, desired)})"
    )
    if left > 0 and any(_goes(writer, key) for key in ledger.objects(desired.document)):
        return Outcome(Phase.LINGERING, Reason.RETAINED, message, after=left)
    return Outcome(
        Phase.RETAINED,
        Reason.RETAINED,
        message,
        event=normal(Reason.RETAINED, message, desired.key, desired.document),
    )


def why_left(ledger: Ledger, desired: Desired) -> str:
    """Why something that no document asks for stays."""
    if user := ledger.needed_by(desired.key):
        return f"{user} was there before, goes on and uses it"
    return (
        "deletionPolicy is Retain"
        if ledger.retained(desired.key)
        else f"reconcilePolicy is {desired.policy.value}"
    )


def _goes(writer: Writer, key: ObjectKey) -> bool:
    gone = writer.ledger.gone.get(key)
    return (
        gone is not None
        and gone.desired.policy not in LEFT_ALONE
        and not writer.ledger.retained(key)
    )


async def _delete_now(writer: Writer, gone: Gone) -> Outcome:
    ledger, desired = writer.ledger, gone.desired
    verb = "release" if ledger.adopted(desired.key) else "delete"
    if not gone.certain:
        return _unfindable(writer, gone)
    if not ledger.permits(desired, "delete"):
        if await _absent(writer, desired):
            return _finished(writer, gone, None)
        raise WaitingForHuman(Reason.AWAITING_APPROVAL, f"would {verb} {desired.key}")
    users = blockers(writer, desired.key)
    if users:
        names = ", ".join(map(str, users))
        return Outcome(
            Phase.WAITING, Reason.WAITING_FOR_REFERENCE, f"is deleted once {names} is gone"
        )
    writer.check_gate(desired)
    wrote = await writer.kind(desired.key).delete(desired)
    if wrote is None or wrote.operation is None:
        return _finished(writer, gone, wrote)
    writer.issued(desired, "delete", wrote, (REMOVAL,))
    message = wrote.message or f"{verb} {desired.key}"
    event = normal(Reason.DELETING, message, desired.key, desired.document)
    return Outcome(
        Phase.DELETING, Reason.DELETING, message, after=writer.pacing.step(0.0), event=event
    )


async def _absent(writer: Writer, desired: Desired) -> bool:
    """Whether somebody else deleted it, so that nobody need be asked. A spec that is good enough to
    delete by may not be good enough to look by; then the question stands.
    """
    try:
        return not (
            await writer.kind(desired.key).observe(desired, writer.view(desired.key))
        ).exists
    except Exception as error:  # noqa: BLE001 - see above
        log.debug("cannot look at what should go", error=type(error).__name__)
        return False


def blockers(writer: Writer, key: ObjectKey) -> Sequence[ObjectKey]:
    """What still refers to `key` and must go first."""
    return sorted(writer.ledger.dependents(key))


def _finished(writer: Writer, gone: Gone, wrote: Wrote | None) -> Outcome:
    """`wrote` is the write that ended, None if there was nothing to delete. What was released is
    remembered as kept: it goes on, and what it stands on must stay.
    """
    desired = gone.desired
    if wrote and writer.ledger.adopted(desired.key):
        message = (
            f"{desired.key} is released: it was there before any document and goes on as it is"
        )
        event = normal(Reason.RELEASED, message, desired.key, desired.document)
        return Outcome(Phase.RETAINED, Reason.RELEASED, message, event=event)
    message = wrote.message if wrote else "was gone already"
    event = normal(Reason.DELETED, message or "deleted", desired.key, desired.document)
    return Outcome(Phase.DELETED, Reason.DELETED, message, event=event)


def _unfindable(writer: Writer, gone: Gone) -> Outcome:
    """It is remembered, but not how to delete it: the inventory may yet name it, and a person may
    have it forgotten.
    """
    key = gone.desired.key
    if writer.ledger.store.approved(key, "delete"):
        event = normal(Reason.DELETED, "forgotten; nothing was deleted", key, gone.desired.document)
        return Outcome(Phase.DELETED, Reason.DELETED, event.message, event=event)
    message = (
        f"{key} cannot be deleted until the inventory names it; if it is gone, approving forgets it"
    )
    raise WaitingForHuman(Reason.AWAITING_APPROVAL, message)


def _never_made(record: ObjectRecord, gone: Gone) -> bool:
    """It was not there when it was looked at, or nobody ever looked, and nothing was written since:
    a name that was corrected before anything happened. With a spec at hand, what nobody looked at
    is rather deleted once too often.
    """
    looked = record.seen is not None or not gone.certain
    return looked and not record.exists and not record.writes and record.operation is None


def _never_adopted(record: ObjectRecord) -> bool:
    """It was somebody else's at the only looks, and nothing was written to it."""
    return record.origin is Origin.FOREIGN and not record.written
