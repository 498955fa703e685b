"""The one place that decides what happens to a key. Kinds report and act, `deletion` handles what
no document wants any more, `conclusion` writes down what came of it, `controller` says when to come
back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reconciler.api.reasons import Reason
from reconciler.engine.blockers import waiting_for
from reconciler.engine.errors import (
    DecidedElsewhere,
    ReconcileError,
    TerminalError,
    WaitingForHuman,
)
from reconciler.engine.events import normal, warning
from reconciler.engine.external import (
    REPAIR,
    Change,
    Desired,
    ObjectKey,
    Observation,
    Policy,
)
from reconciler.engine.fingerprint import fingerprint
from reconciler.engine.ledger import Ledger
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Outcome, Pacing, outcome_of
from reconciler.engine.writer import TRIES, Writer, doing, signature, under_way

ABSENT = Change("(object)", None, "(present)", "create")
REPLACE = "replace"


@dataclass(frozen=True)
class Stall:
    """A refused write. `attempt` is the digest of what it tried and `since` when it was refused
    (`Clock.elapsed`). The same attempt is repeated only slowly.
    """

    attempt: str
    error: TerminalError
    since: float

    def holds(self, attempt: str, now: float, pacing: Pacing) -> bool:
        slowly = isinstance(self.error, DecidedElsewhere)
        pause = pacing.slow if slowly else pacing.stubborn
        return self.attempt == attempt and now - self.since < pause


@dataclass
class Reconciler:
    """`run` handles a key that is desired. Stalls live in memory: a restart tries a refused write
    once more.
    """

    writer: Writer
    attempts: dict[ObjectKey, str] = field(default_factory=dict)
    stalls: dict[ObjectKey, Stall] = field(default_factory=dict)

    async def run(self, desired: Desired) -> Outcome:
        """Observe and, if need be, issue one write.

        Raises:
            Exception: whatever the kind raised; `result.outcome_of` gives it a meaning.
        """
        if desired.policy is Policy.SKIP:
            return Outcome(Phase.SKIPPED, Reason.SKIPPED, "reconcilePolicy is Skip")
        try:
            under_way = await self.writer.poll(desired)
        except TerminalError as error:
            self._stall(desired, self.attempts.get(desired.key, ""), error)
            raise
        if under_way is not None:
            return under_way
        ledger = self.writer.ledger
        unready = ledger.unready(desired)
        # Observing needs the facts of the references. Where they are known it is done even while a
        # reference is not ready, so that drift is reported although nothing is written.
        if any(not ledger.facts.known(ref) for ref in unready):
            return self._wait(unready)
        view = self.writer.view(desired.key)
        try:
            observed = await self.writer.kind(desired.key).observe(desired, view)
        finally:  # a failed look depends on what it read, too
            ledger.facts.keep(view)
        try:
            outcome = await self._decide(desired, observed, unready)
        except ReconcileError as error:
            outcome = outcome_of(error, self.writer.pacing)
        return replace(outcome, observation=observed)

    async def _decide(
        self, desired: Desired, observed: Observation, unready: tuple[ObjectKey, ...]
    ) -> Outcome:
        pacing, record = self.writer.pacing, self.writer.ledger.record(desired)
        if observed.busy:
            after = observed.poll_after or pacing.step(
                self.writer.ledger.clock.elapsed() - record.since
            )
            return under_way(
                record, after, observed.reason or Reason.OPERATION_IN_PROGRESS, observed.message
            )
        changes = observed.changes if observed.exists else (ABSENT,)
        if not changes:
            return self._as_desired(desired, observed, unready)
        # Before the wait for references: an object that is only observed is never written.
        if desired.policy.watches:
            return self._only_observed(desired, observed, changes)
        if unready:
            return self._wait(unready)
        if desired.policy is Policy.ASK:
            return self._ask(desired, changes)
        # The whole spec counts, and not only the differences: any edit is worth a new attempt.
        attempt = fingerprint(desired.fingerprint, [signature(change) for change in changes])
        stall = self.stalls.get(desired.key)
        if stall is not None and stall.holds(attempt, self.writer.ledger.clock.elapsed(), pacing):
            return outcome_of(stall.error, pacing)
        outcome = self._pause(record, changes)
        if outcome is not None:
            return outcome
        try:
            self.attempts[desired.key] = attempt
            return await self._write(desired, observed, changes)
        except TerminalError as error:
            self._stall(desired, attempt, error)
            return outcome_of(error, pacing)

    def _stall(self, desired: Desired, attempt: str, error: TerminalError) -> None:
        now = self.writer.ledger.clock.elapsed()
        self.stalls[desired.key] = Stall(attempt, error, now)

    def _as_desired(
        self, desired: Desired, observed: Observation, unready: tuple[ObjectKey, ...]
    ) -> Outcome:
        # The object is as desired now: somebody else may have fixed what our write could not.
        self.stalls.pop(desired.key, None)
        if unready:
            return self._wait(unready)
        if observed.ready:
            return Outcome(
                Phase.READY,
                observed.reason or Reason.IN_SYNC,
                observed.message,
                after=observed.poll_after,
            )
        record = self.writer.ledger.record(desired)
        elapsed = (
            self.writer.ledger.clock.elapsed() - record.since
            if record.phase is Phase.UNREADY
            else 0.0
        )
        after = observed.poll_after or self.writer.pacing.step(elapsed)
        return Outcome(
            Phase.UNREADY, observed.reason or Reason.PROGRESSING, observed.message, after=after
        )

    def _only_observed(
        self, desired: Desired, observed: Observation, changes: tuple[Change, ...]
    ) -> Outcome:
        phase = Phase.READY if observed.exists and observed.ready else Phase.UNREADY
        message = f"{named(desired, changes)}; {why_watched(desired)}"
        event = None
        if (
            drifted(self.writer.ledger, desired, changes)
            and not self.writer.ledger.record(desired).drifted
        ):
            event = warning(Reason.DRIFT_FOUND, message, desired.key, desired.document, changes)
        return Outcome(phase, Reason.OBSERVE_ONLY, message, after=observed.poll_after, event=event)

    def _ask(self, desired: Desired, changes: tuple[Change, ...]) -> Outcome:
        """The change waits for a person. If a change from outside made it necessary, an event says
        so, as for any drift.
        """
        verb = "create" if changes == (ABSENT,) else "update"
        message = (
            f"would {verb} {named(desired, changes) if verb == 'update' else desired.key}; `moorage"
            " approve` lets it"
        )
        event = None
        if (
            drifted(self.writer.ledger, desired, changes)
            # Only the first time: the object is looked at every minute while it waits.
            and not self.writer.ledger.record(desired).drifted
        ):
            event = warning(Reason.DRIFT_FOUND, message, desired.key, desired.document, changes)
        return Outcome(
            Phase.BLOCKED,
            Reason.AWAITING_APPROVAL,
            message,
            after=self.writer.pacing.slow,
            hold=True,
            event=event,
        )

    def _pause(self, record: ObjectRecord, changes: tuple[Change, ...]) -> Outcome | None:
        """Why a difference that earlier writes did not settle must wait; None to write now."""
        pacing = self.writer.pacing
        # The difference with the fewest writes decides, so that a new one beside a stubborn one is
        # written at once.
        tries = min(record.writes.get(signature(change), 0) for change in changes)
        stubborn = tries >= TRIES
        wait = (pacing.stubborn if stubborn else pacing.pauses[tries]) if tries else 0.0
        left = record.written + wait - self.writer.ledger.clock.elapsed()
        if left <= 0:
            return None
        what = "; ".join(map(str, changes))
        if record.failure is not None:  # Azure said why; nothing we could guess says more
            reason, message = record.failure
            if not stubborn:
                return Outcome(Phase.RETRYING, reason, message, after=left)
            message = f"{message} (after {tries} tries; tried again every {wait:.0f} s)"
            return Outcome(Phase.NOT_CONVERGING, reason, message, after=left, hold=True)
        if stubborn:
            message = (
                f"{tries} writes did not settle {what}. Something else sets it back, or Azure does"
                " not take it."
            )
            return Outcome(
                Phase.NOT_CONVERGING, Reason.DOES_NOT_CONVERGE, message, after=left, hold=True
            )
        return Outcome(
            Phase.WORKING, Reason.UPDATING, f"written, and looked at again soon: {what}", after=left
        )

    async def _write(
        self, desired: Desired, observed: Observation, changes: tuple[Change, ...]
    ) -> Outcome:
        writer, drift = self.writer, drifted(self.writer.ledger, desired, changes)
        if any(change.effect == REPLACE for change in changes):
            return await self._replace(desired, changes)
        kind = writer.kind(desired.key)
        view, verb = writer.view(desired.key), "update" if observed.exists else "create"
        with writer.permit(desired):
            if observed.exists:
                wrote = await kind.update(desired, observed, view)
            else:
                wrote = await kind.create(desired, view)
                # It was for what stood there before, and a kill may have left it.
                writer.ledger.store.revoke(desired.key, "replace")
        record = writer.issued(desired, verb, wrote, changes)
        reason, message = doing(verb, desired.key)
        # One event per write, with the most specific cause.
        if any(change.effect == REPAIR for change in changes):
            why = observed.reason or Reason.OPERATION_FAILED
            event = warning(why, observed.message, desired.key, desired.document, changes)
        elif wrote.trouble is not None:
            event = warning(wrote.trouble, wrote.message, desired.key, desired.document, changes)
        elif drift:
            text = f"changed behind Moorage's back and put right: {named(desired, changes)}"
            event = warning(Reason.DRIFT_FOUND, text, desired.key, desired.document, changes)
        else:
            fields = changes if observed.exists else ()
            event = normal(reason, wrote.message or message, desired.key, desired.document, fields)
        # A write without an operation has taken effect by now, so look again at once.
        after = writer.pacing.look(wrote.operation.retry_after) if wrote.operation else 0.0
        return replace(under_way(record, after, reason, wrote.message or message), event=event)

    async def _replace(self, desired: Desired, changes: tuple[Change, ...]) -> Outcome:
        """Deletes; the next pass finds nothing and creates."""
        writer, ledger = self.writer, self.writer.ledger
        why = "; ".join(str(change) for change in changes if change.effect == REPLACE)
        if desired.retain:  # no approval is asked for: an edit never deletes data
            raise TerminalError(
                Reason.IMMUTABLE_FIELD,
                f"{desired.key} would have to be replaced, and it holds data: {why}",
            )
        # Azure refuses to delete what is in use, and an edit never deletes the users for it.
        users = [
            key
            for key in ledger.dependents(desired.key)
            if key in ledger.records and ledger.records[key].exists
        ]
        if users:
            names = ", ".join(map(str, sorted(users)))
            raise WaitingForHuman(
                Reason.IMMUTABLE_FIELD,
                f"{desired.key} cannot be replaced while {names} uses it: {why}",
            )
        if not ledger.permits(desired, "replace"):
            raise WaitingForHuman(
                Reason.AWAITING_APPROVAL, f"would delete {desired.key} and create it again: {why}"
            )
        with writer.permit(desired):
            wrote = await writer.kind(desired.key).delete(ledger.identity(desired))
        record = writer.issued(desired, "delete", wrote, changes)
        operation = wrote.operation if wrote else None
        # The approval is used up, so that the next replacement is asked for again.
        ledger.store.revoke(desired.key, "replace")
        event = warning(
            Reason.DELETING,
            f"deleted, and is created again: {why}",
            desired.key,
            desired.document,
            changes,
        )
        after = writer.pacing.look(operation.retry_after) if operation else 0.0
        return replace(
            under_way(record, after, Reason.DELETING, f"replacing {desired.key}"), event=event
        )

    def _wait(self, unready: tuple[ObjectKey, ...]) -> Outcome:
        """No time is set: a reference that becomes ready wakes what waits for it."""
        message = waiting_for(self.writer.ledger, unready)
        return Outcome(Phase.WAITING, Reason.WAITING_FOR_REFERENCE, message)


def inputs(ledger: Ledger, desired: Desired) -> str:
    """A digest of all that decides how the object should look: its spec and the facts of its
    references.
    """
    facts = [ledger.facts.ready(ref) for ref in desired.refs if ledger.facts.known(ref)]
    return f"{desired.fingerprint}.{fingerprint(facts)}"


def drifted(ledger: Ledger, desired: Desired, changes: tuple[Change, ...]) -> bool:
    """Whether the differences can only come from outside, because the object was as desired with
    the same inputs before. If it existed for this very spec and is missing now, somebody deleted
    it, even if its references have changed.
    """
    if all(change.follows for change in changes):
        return False
    settled, now = ledger.record(desired).settled, inputs(ledger, desired)
    if changes == (ABSENT,):
        return settled.partition(".")[0] == now.partition(".")[0]
    return settled == now


def why_watched(desired: Desired) -> str:
    """Why an object is not written."""
    if desired.policy is Policy.PAUSED:
        document = desired.document
        return f"{document} is paused, and `moorage resume {document.name}` ends that"
    return "reconcilePolicy is Observe"


def named(desired: Desired, changes: tuple[Change, ...]) -> str:
    return (
        f"{desired.key} is missing"
        if changes == (ABSENT,)
        else f"{desired.key}: " + "; ".join(map(str, changes))
    )
