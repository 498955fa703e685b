"""What every step that writes shares: the gate before a write, the memory of it after, and the
operation that it began. Used by `reconcile` and `deletion`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from reconciler.api.reasons import Cause, Reason
from reconciler.engine.errors import ReconcileError, TerminalError
from reconciler.engine.external import (
    Change,
    Desired,
    External,
    Gone,
    Identity,
    ObjectKey,
    Wrote,
)
from reconciler.engine.facts import View
from reconciler.engine.fingerprint import fingerprint
from reconciler.engine.ledger import Ledger
from reconciler.engine.permit import permit
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Outcome, Pacing

TRIES = 3  # writes for one difference before it counts as not converging
# Why a write for an object may not be issued now.
Gate = Callable[[Identity], ReconcileError | None]


@dataclass
class Writer:
    """What every writing step shares: the kinds, the ledger, the pace and the gate checked right
    before each write.
    """

    kinds: Mapping[str, External]
    ledger: Ledger
    pacing: Pacing
    why_not: Gate

    def kind(self, key: ObjectKey) -> External:
        return self.kinds[key.kind]

    def view(self, key: ObjectKey) -> View:
        return View(self.ledger.facts, key)

    def permit(self, item: Desired | Gone) -> AbstractContextManager[None]:
        """A context for calls that write: each request is sent only while the gate is open."""
        identity = self.ledger.identity(item)

        def check() -> None:
            if refusal := self.why_not(identity):
                raise refusal

        return permit(check)

    def issued(
        self, item: Desired | Gone, verb: str, wrote: Wrote | None, changes: tuple[Change, ...]
    ) -> ObjectRecord:
        """Record a write before anything else can happen: the token of its operation, and one more
        attempt for each difference.
        """
        record = self.ledger.record(item)
        # A difference that is no longer there has been settled and starts from zero should it
        # return.
        writes = {
            signature(change): record.writes.get(signature(change), 0) + 1 for change in changes
        }
        # A daemon that dies after this polls the operation, and does not write a second time.
        operation = wrote.operation.token if wrote and wrote.operation else None
        identity = self.ledger.identity(item)
        record = replace(
            record,
            id=identity.id,
            scope=identity.scope,
            operation=operation,
            verb=verb,
            written=self.ledger.clock.elapsed(),
            writes=writes,
            refs=item.refs,
            policy=item.policy,
            retain=item.retain,
            settled="" if verb == "delete" else record.settled,
        )
        self.ledger.write(record)
        return record

    async def poll(self, item: Desired | Gone) -> Outcome | None:
        """One step of the operation under way; None when there is none or it has ended well.

        Raises:
            ReconcileError: the operation failed, or could not be asked.
        """
        record = self.ledger.record(item)
        if record.operation is None:
            return None
        elapsed = self.ledger.clock.elapsed() - record.written
        try:
            progress = await self.kind(item.key).poll(self.ledger.identity(item), record.operation)
        except TerminalError:
            # Azure no longer knows the operation: the object itself tells how it ended.
            self.ledger.write(replace(self.ledger.record(item), operation=None, verb=None))
            return None
        if not progress.done:
            after = self.pacing.look(progress.retry_after, elapsed)
            return under_way(record, after, *doing(record.verb, item.key))
        error = progress.error
        failure = (error.reason, error.message) if isinstance(error, ReconcileError) else None
        self.ledger.write(replace(self.ledger.record(item), operation=None, failure=failure))
        if error is not None:
            raise error
        return None


def under_way(record: ObjectRecord, after: float, reason: Cause | None, message: str) -> Outcome:
    """Work in progress. What does not converge keeps saying so while it is written once more."""
    if record.phase is Phase.NOT_CONVERGING and min(record.writes.values(), default=0) > TRIES:
        return Outcome(record.phase, record.reason, record.message, after=after)
    return Outcome(Phase.WORKING, reason, message, after=after)


def signature(change: Change) -> str:
    """Identifies a difference across writes by its path and the wanted value. The value that was
    found does not count.
    """
    return fingerprint(change.path, change.after)


def doing(verb: str | None, key: ObjectKey) -> tuple[Reason, str]:
    """Reason and message while the write `verb` goes on."""
    reason = {"create": Reason.CREATING, "delete": Reason.DELETING}.get(verb or "", Reason.UPDATING)
    return reason, f"{reason.value.lower()} {key}"
