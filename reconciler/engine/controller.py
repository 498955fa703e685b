"""The loop as a whole: workers take keys from `queue`, `reconcile` or `deletion` handles them,
`conclusion` writes down what came of it, and the outcome becomes forget, requeue-after or
rate-limited retry. The daemon builds and owns one.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import structlog

from reconciler.api.conditions import ConditionSet
from reconciler.api.reasons import Cause, Reason
from reconciler.engine.backoff import Backoff
from reconciler.engine.clock import Clock, SystemClock
from reconciler.engine.conclusion import Conclusion
from reconciler.engine.deletion import delete
from reconciler.engine.document_state import DocumentState
from reconciler.engine.errors import ReconcileError
from reconciler.engine.events import Event
from reconciler.engine.external import (
    Desired,
    DocumentRef,
    External,
    Gone,
    Identity,
    ObjectKey,
)
from reconciler.engine.ledger import Ledger
from reconciler.engine.outage import Outage
from reconciler.engine.plan import PlanLine, plan
from reconciler.engine.queue import Priority, WorkQueue
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Outcome, Pacing, outcome_of
from reconciler.engine.spread import parts
from reconciler.engine.store import Store
from reconciler.engine.summary import Summary, Trouble
from reconciler.engine.urgency import urgency
from reconciler.engine.verdict import ExitClass, verdict
from reconciler.engine.writer import Gate, Writer

log = structlog.get_logger(__name__)
CROWD = 50  # objects that change at once; one document has some ten
RESERVED = 2  # workers for what a person waits for: all others may wait for Azure's answers
Watcher = Callable[[ObjectKey, Outcome, float], None]


class Controller:
    """Call all methods on the thread of the event loop. `run` works until `stop`; everything else
    may be called at any time.

    `why_not` is asked right before each request that writes (the leader lease); `watch` is told
    every outcome and how long it took. A resync looks at the kinds `together` at the same time, and
    at all others scope by scope.
    """

    def __init__(
        self,
        kinds: Iterable[External],
        store: Store,
        *,
        why_not: Gate = lambda _: None,
        pacing: Pacing | None = None,
        backoff: Backoff | None = None,
        workers: int = 8,
        clock: Clock | None = None,
        watch: Watcher | None = None,
        together: Collection[str] = (),
    ) -> None:
        self._together = frozenset(together)
        self._kinds = {kind.name: kind for kind in kinds}
        self._pacing = pacing or Pacing()
        self._backoff = backoff or Backoff()
        self._queue, self._outage = WorkQueue(), Outage()
        self._ledger = Ledger(store, clock or SystemClock(), self._identify)
        self._summary = Summary(self._ledger, self._pacing)
        self._writer = Writer(self._kinds, self._ledger, self._pacing, why_not)
        self._reconciler = Reconciler(self._writer)
        self._conclusion = Conclusion(self._ledger, self._summary)
        self._workers, self._watch = workers, watch
        self._moved = asyncio.Event()

    # what is wanted

    def set_desired(
        self,
        desired: Sequence[Desired],
        documents: Sequence[DocumentState],
        *,
        complete: bool = True,
        purge: bool = False,
    ) -> tuple[ObjectKey, ...]:
        """Replace the whole desired set. Returns the keys that changed; they go ahead of resyncs.

        With `complete=False` (a source could not be read) a missing object does not count as gone.
        With `purge` (a person asked for it) a gone object is deleted even where `retain` is set.
        """
        before = {**self._ledger.documents}
        changed = self._ledger.replace(desired, documents, complete=complete, purge=purge)
        # Conditions at once: a person who saved must not read the state of the version before.
        for document in self._ledger.concerned(before, changed):
            self._conclusion.refresh(document)
        if len(changed) > CROWD:
            # Objects without references go first, because everything else waits for them. Otherwise
            # the dependents of the first Environment would run before the last Environment had its
            # turn.
            self._wake((key for key in changed if self._begins(key)), Priority.SAVE)
        return self._wake(changed, Priority.SAVE)

    def expect(self) -> None:
        """Announce that a save is being read: `set_desired` will follow with what it changed."""
        self._queue.expect()

    def set_orphans(self, orphans: Sequence[Desired | Gone]) -> tuple[ObjectKey, ...]:
        """Take the inventory's list of what Moorage owns. Objects that a document asks for are
        ignored, and the whole list while a source is unread.
        """
        return self._wake(self._ledger.add_orphans(orphans))

    def set_trouble(
        self, name: str, reason: Cause, message: str, documents: Collection[DocumentRef] | None
    ) -> None:
        """Say in a condition of `documents` (None: of all) that the edge `name` fails."""
        concerned = None if documents is None else frozenset(documents)
        self._summary.set_trouble(name, Trouble(reason, message, concerned))
        self._refresh_all()

    def clear_trouble(self, name: str) -> None:
        self._summary.set_trouble(name, None)
        self._refresh_all()

    def approve(self, subject: DocumentRef | ObjectKey) -> tuple[ObjectKey, ...]:
        """Approve, once, the deletions and replacements of a document or of one object.

        Returns the keys that were waiting; empty means that there was nothing to approve.
        """
        released = [key for key in self.approvable() if subject in (key, self._document(key))]
        for key in released:
            self._ledger.store.approve(key, "delete" if key in self._ledger.gone else "replace")
        return self._wake(released, Priority.SAVE)

    def approvable(self) -> tuple[ObjectKey, ...]:
        """Objects whose end a person may approve: gone ones that are not retained, and those that
        must be replaced.
        """
        ledger = self._ledger
        leaving = [key for key in ledger.gone if not ledger.retained(key)]
        asking = [
            key
            for key in ledger.desired
            if (r := ledger.records.get(key)) and r.reason is Reason.AWAITING_APPROVAL
        ]
        return tuple(leaving + asking)

    def trigger(
        self, keys: Collection[ObjectKey] | None = None, priority: Priority = Priority.RESYNC
    ) -> None:
        """Look at `keys` (default: all) again: a resync, or an edge that a source noticed."""
        for key in [*self._ledger.desired, *self._ledger.gone] if keys is None else keys:
            self._queue.add(key, priority)

    # what is

    def conditions(self, document: DocumentRef) -> ConditionSet:
        return self._summary.conditions(document)

    def observed_generation(self, document: DocumentRef) -> int:
        return self._summary.observed_generation(document)

    def documents(self) -> tuple[DocumentState, ...]:
        """The documents that exist, and those that are being deleted."""
        return (
            *self._ledger.documents.values(),
            *(gone.state for gone in self._ledger.gone_documents.values()),
        )

    def records(self) -> tuple[ObjectRecord, ...]:
        return tuple(self._ledger.records.values())

    def events(self, document: DocumentRef | None = None) -> tuple[Event, ...]:
        return self._ledger.store.events(document)

    def idle(self) -> bool:
        """Nothing is due and no worker is at work; keys that wait for their time do not count."""
        return self._queue.idle

    def converged(self) -> ExitClass | None:
        """The worst exit class once everything is ready, terminal or up to a person; None
        before.
        """
        return verdict(self._ledger) if self._queue.idle else None

    def rests(self) -> bool:
        """Whether nothing changes by itself any more, although a resync may be under way."""
        return self._queue.calm and verdict(self._ledger) is not None

    async def settled(self) -> ExitClass:
        """Wait for `converged`; the caller sets the time limit (exit code 5)."""
        while (found := self.converged()) is None:
            self._moved.clear()
            await self._moved.wait()
        return found

    async def plan(self, keys: Collection[ObjectKey] | None = None) -> tuple[PlanLine, ...]:
        """What would be done, in order of dependence. Needs no `run`; issues no write."""
        return await plan(self._ledger, self._kinds, keys)

    # work

    async def run(self) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as group:
            resync = group.create_task(self._resync())
            least = [Priority.RESYNC] * self._workers + [Priority.SAVE] * RESERVED
            await asyncio.gather(*(group.create_task(self._work(each)) for each in least))
            resync.cancel()

    async def stop(self) -> None:
        """Take no new key and wait for the passes under way; the caller sets the time limit and
        then cancels `run`.
        """
        await self._queue.drain()

    async def _work(self, least: Priority) -> None:
        while (key := await self._queue.get(least)) is not None:
            try:
                with urgency(waited_for=self._queue.priority(key) is Priority.SAVE):
                    await self._pass(key)
            except Exception:
                # `_attempt` turns every error of the pass into an outcome, so this one came while
                # the outcome was recorded. Neither the key nor the worker may be lost.
                log.exception("the end of a pass failed", key=str(key))
                self._queue.add_after(key, self._backoff.delay(key), hold=True)
            finally:
                self._queue.done(key)
                self._moved.set()
            # A resync that is answered from one shared listing never awaits I/O. Yield, so that a
            # save is handled in between.
            await asyncio.sleep(0)

    async def _pass(self, key: ObjectKey) -> None:
        loop = asyncio.get_running_loop()
        began, before = loop.time(), self._ledger.records.get(key)
        gone = self._ledger.gone.get(key)
        item = gone or self._ledger.desired.get(key)
        if item is None:
            self._backoff.forget(key)
            self.trigger(self._outage.saw(key, None, asked=False), Priority.CROWD)
            return
        with structlog.contextvars.bound_contextvars(
            reconcile_id=uuid.uuid4().hex[:12], kind=key.kind, name=key.name
        ):
            outcome = await self._attempt(
                delete(self._writer, item) if isinstance(item, Gone) else self._reconciler.run(item)
            )
            wake, readers = self._conclusion.conclude(item, outcome)
            asked = outcome.phase is not Phase.WAITING
            answered = self._outage.saw(key, outcome.reason, asked=asked)
            self._say(outcome, before, self._schedule(key, outcome), loop.time() - began)
        priority = self._queue.priority(key)
        # What follows from a save is waited for as well.
        self._wake(wake, min(priority, Priority.EDIT))
        if priority is Priority.SAVE and outcome.phase is Phase.WAITING:
            self._prioritize_references(item)
        self.trigger(answered, Priority.CROWD)
        for reader in readers:
            # Not at once: two objects that read each other's facts would wake each other without
            # end.
            self._queue.add_after(reader, self._pacing.fastest)
        if outcome.backoff and isinstance(item, Desired):
            # A reference may be the cause, even if it was ready at the last look: look again.
            for ref in item.refs:
                if ref in self._ledger.desired:
                    self._queue.add_after(ref, self._pacing.fastest)
        if self._watch:
            self._watch(key, outcome, loop.time() - began)

    def _prioritize_references(self, item: Desired | Gone) -> None:
        """Look next at the references of a saved object that nobody has looked at yet. Soon after
        a start, they would otherwise be behind a thousand other objects.
        """
        for key in self._ledger.pending.intersection(item.refs):
            self._queue.urge(key, Priority.SAVE)

    async def _attempt(self, attempt: Awaitable[Outcome]) -> Outcome:
        try:
            return await attempt
        except ReconcileError as error:
            return outcome_of(error, self._pacing)
        except Exception as error:
            log.exception("pass failed unexpectedly")
            return outcome_of(error, self._pacing)

    def _schedule(self, key: ObjectKey, outcome: Outcome) -> float | None:
        """Set when the key is due again. Returns the seconds until then, None for the resync."""
        if outcome.backoff:
            delay = self._outage.delay(key, self._backoff.delay(key))
            self._queue.add_after(key, delay, hold=True)
            return delay
        # Every other outcome, waiting included, ends a series of failures.
        self._backoff.forget(key)
        if outcome.after is not None and outcome.phase is not Phase.DELETED:
            self._queue.add_after(key, outcome.after, hold=outcome.hold)
        return outcome.after

    def _say(
        self, outcome: Outcome, before: ObjectRecord | None, delay: float | None, took: float
    ) -> None:
        moved = before is None or (before.phase, before.reason) != (outcome.phase, outcome.reason)
        speak = log.info if moved or outcome.event else log.debug
        speak(
            "reconciled",
            phase=str(outcome.phase),
            reason=str(outcome.reason or ""),
            message=outcome.message,
            again_after=None if delay is None else round(delay, 2),
            took=round(took, 4),
        )

    def _refresh_all(self) -> None:
        for document in [*self._ledger.documents, *self._ledger.gone_documents]:
            self._conclusion.refresh(document)

    def _wake(
        self, keys: Iterable[ObjectKey], priority: Priority = Priority.EDIT
    ) -> tuple[ObjectKey, ...]:
        """Make `keys` due, as a crowd where there are many: a later save goes ahead of them."""
        woken = tuple(keys)
        priority = Priority.CROWD if len(woken) > CROWD else priority
        for key in woken:
            self._queue.add(key, priority)
        self._moved.set()
        return woken

    def _begins(self, key: ObjectKey) -> bool:
        desired = self._ledger.desired.get(key)
        return desired is not None and not desired.refs

    def _identify(self, desired: Desired) -> Identity:
        return self._kinds[desired.key.kind].identify(desired)

    def _document(self, key: ObjectKey) -> DocumentRef:
        gone = self._ledger.gone.get(key)
        return (gone or self._ledger.desired[key]).document

    async def _resync(self) -> None:
        """Each scope in its part of the interval, in proportion to its objects: who asks little of
        Azure at a time may ask for more in all. The jitter keeps daemons apart.
        """
        while True:
            length = self._pacing.resync * random.uniform(0.98, 1.0)
            keys = [*self._ledger.desired, *self._ledger.gone]
            for part in parts(keys, self._ledger.records, self._together):
                await asyncio.sleep(length * len(part) / max(1, len(keys)))
                self.trigger(part)
            if not keys:
                await asyncio.sleep(length)
