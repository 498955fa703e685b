"""What the loop would do, without doing it: the same observe and the same differences, in order of
dependence.

`Controller.plan` calls it; the CLI prints the lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Literal

from reconciler.api.outputs import Outputs
from reconciler.api.reasons import Reason
from reconciler.engine.deletion import LEFT_ALONE, never_made, why_left
from reconciler.engine.deletion_order import goes_after
from reconciler.engine.errors import NotReadyYet, ReconcileError
from reconciler.engine.external import (
    Change,
    Desired,
    DocumentRef,
    External,
    Gone,
    Known,
    LastWrite,
    ObjectKey,
    Observation,
    Origin,
    Part,
    Policy,
    Transfer,
    Transfers,
)
from reconciler.engine.facts import FactBook
from reconciler.engine.ledger import Ledger
from reconciler.engine.reconcile import REPLACE, why_watched
from reconciler.engine.rules import IN_PLACE

Action = Literal[
    "no-op", "create", "adopt", "update", "replace", "release", "delete", "wait", "refuse"
]
WAITS = "waits for approval"
HOLDS = "it holds data and is not replaced: put the old value back"
HELD = "held"  # the effect of a line whose object stays as it was before the document changed
THERE = "it was there before any document asked for it"
USED = f"used as it is: {THERE}"
RELEASED = "stays: it was there before any document asked for it"


@dataclass(frozen=True)
class PlanLine:
    """What the loop would do to one object; with `refuse`, that it does nothing for a document.
    `effect` says in words what the action means, `problem` why it will not happen by itself,
    `transfer` what is sent to the share, `last_write` who wrote to the object last, `outputs` the
    facts that the look found, `missing` that there is no such object.
    """

    key: ObjectKey
    document: DocumentRef
    action: Action
    changes: tuple[Change, ...] = ()
    effect: str = ""
    problem: str = ""
    transfer: Transfer | None = None
    last_write: LastWrite | None = None
    outputs: Outputs | None = field(default=None, compare=False)
    missing: bool = False

    @property
    def waits(self) -> bool:
        """Whether a person must approve it."""
        return self.problem == WAITS

    @property
    def used(self) -> bool:
        """Whether the documents use for the first time what somebody else made."""
        return self.effect == USED

    @property
    def held(self) -> bool:
        """Whether another version stays in place than the one that the document asks for."""
        return self.effect == HELD


async def plan(
    ledger: Ledger, kinds: Mapping[str, External], keys: Collection[ObjectKey] | None = None
) -> tuple[PlanLine, ...]:
    """Lines for `keys` (default: everything), references first, deletions last and dependents
    first. Writes nothing.

    What `keys` refer to is observed too, because their facts are needed.
    """
    wanted = set(ledger.desired) | set(ledger.gone) if keys is None else set(keys)
    facts = _Facts(ledger.facts)
    lines = []
    for key in _ordered(ledger.desired, wanted):
        kind, desired = kinds[key.kind], ledger.desired[key]
        line = await _line(ledger, kind, desired, facts)
        if key in wanted:
            if line.action in ("create", "update") and isinstance(kind, Transfers):
                # Only for what would be written, because this reads the share.
                line = replace(line, transfer=await kind.transfer(desired))
            lines.append(line)
    order = [(user, key) for key in ledger.gone for user in goes_after(ledger, key)]
    gone = [key for key in reversed(_ordered(ledger.gone, wanted, order)) if key in wanted]
    looks = (_deletion(ledger, kinds[key.kind], ledger.gone[key]) for key in gone)
    return (*lines, *await asyncio.gather(*looks))


class _Facts:
    """The `Facts` of a plan: `seen` are outputs that it saw, `coming` objects it would create,
    `absent` missing ones that are only reported, `stuck` those that cannot become ready, each with
    the objects at the root of it.
    """

    def __init__(self, book: FactBook) -> None:
        self.book = book
        self.seen: dict[ObjectKey, Outputs | None] = {}
        self.coming: set[ObjectKey] = set()
        self.absent: set[ObjectKey] = set()
        self.stuck: dict[ObjectKey, tuple[ObjectKey, ...]] = {}

    def outputs(self, key: ObjectKey, of: type[Known]) -> Known:
        found = self.seen.get(key)
        if not isinstance(found, of):
            raise NotReadyYet(Reason.WAITING_FOR_REFERENCE, f"{key} is not there yet")
        return found

    def last(self, key: ObjectKey, of: type[Known]) -> Known | None:
        if key not in self.seen:
            return self.book.last(key, of)
        found = self.seen[key]
        return found if isinstance(found, of) else None

    def part(self, key: ObjectKey, of: type[Known], pick: Callable[[Known], Part]) -> Part | None:
        found = self.last(key, of)
        return None if found is None else pick(found)

    def see(self, desired: Desired, observed: Observation) -> None:
        if observed.exists:
            self.seen[desired.key] = observed.outputs
        elif desired.policy in (Policy.MANAGE, Policy.ASK):
            self.coming.add(desired.key)
        elif desired.policy.watches:
            self.misses(desired)

    def misses(self, desired: Desired) -> None:
        """It does not exist, and nobody creates it."""
        self.absent.add(desired.key)
        self.stuck[desired.key] = (desired.key,)

    def roots(self, desired: Desired) -> tuple[ObjectKey, ...]:
        """What must become ready before `desired` is written, and cannot."""
        found = [self.stuck[ref] for ref in desired.refs if ref in self.stuck]
        return tuple(dict.fromkeys(root for each in found for root in each))


async def _line(ledger: Ledger, kind: External, desired: Desired, facts: _Facts) -> PlanLine:
    if desired.policy is Policy.SKIP:
        return _of(desired, "no-op", effect="skipped", problem="reconcilePolicy is Skip")
    coming = [ref for ref in desired.refs if ref in facts.coming]
    try:
        observed = await kind.observe(desired, facts)
    except NotReadyYet as error:
        if desired.policy.watches and facts.absent.intersection(desired.refs):
            # What it stands on does not exist, so it does not either.
            facts.misses(desired)
            return _watched(_created(desired), desired)
        if not coming:
            facts.stuck[desired.key] = facts.roots(desired) or (desired.key,)
            return _of(desired, "wait", problem=error.message)
        # It cannot be observed, because a reference does not exist yet. It will be created once the
        # reference exists.
        facts.coming.add(desired.key)
        made = _created(desired, f"created after {', '.join(map(str, coming))}")
        return _asking(_blocked(made, desired, facts), desired)
    except ReconcileError as error:
        facts.stuck[desired.key] = (desired.key,)
        return _of(desired, "wait", problem=str(error))
    facts.see(desired, observed)
    line = replace(
        _judge(ledger, desired, observed),
        last_write=observed.last_write,
        outputs=observed.outputs,
    )
    if desired.policy.watches and line.action not in ("no-op", "wait"):
        return _watched(line, desired)
    return _asking(_blocked(line, desired, facts), desired)


def _watched(line: PlanLine, desired: Desired) -> PlanLine:
    """The line of an object that nobody writes."""
    told = why_watched(desired)
    if desired.policy is Policy.PAUSED:
        return replace(line, action="wait", effect=line.action, problem=told)
    said = "it is missing, and only reported" if line.missing else "only reported"
    return replace(line, action="no-op", effect=said, problem=told)


def _created(desired: Desired, effect: str = "create") -> PlanLine:
    return replace(_of(desired, "create", effect=effect), missing=True)


def _blocked(line: PlanLine, desired: Desired, facts: _Facts) -> PlanLine:
    """The line, or that its object waits: nothing is written while a reference is not ready."""
    roots = facts.roots(desired)
    if not roots or line.action in ("no-op", "wait"):
        return line
    facts.stuck[desired.key] = roots
    problem = f"waits for {', '.join(map(str, roots))}"
    return replace(line, action="wait", effect=line.action, problem=problem)


def _asking(line: PlanLine, desired: Desired) -> PlanLine:
    waits = desired.policy is Policy.ASK and line.action not in ("no-op", "wait")
    return replace(line, problem=line.problem or WAITS) if waits else line


def _judge(ledger: Ledger, desired: Desired, observed: Observation) -> PlanLine:
    # First, because a look during an operation shows neither the old nor the new state.
    if observed.busy:
        return _of(
            desired,
            "wait",
            observed.changes,
            problem=observed.message or "an operation is running on it",
        )
    if not observed.exists:
        return replace(_created(desired), changes=observed.changes)
    if not observed.changes:
        held = HELD if observed.held else ""
        used = USED if _is_new(ledger, desired, observed) else ""
        return _of(desired, "no-op", effect=held or used, problem=observed.message if held else "")
    # Later writes count too: one of them may be the one that stops a service.
    changes = (*observed.changes, *observed.later)
    effects = dict.fromkeys(change.effect for change in changes)
    effect = ", ".join(each for each in effects if each != IN_PLACE or len(effects) == 1)
    # The first write of an adoption makes some of the changes, but its approval covers all.
    if observed.origin is Origin.FOREIGN:
        return _of(
            desired,
            "adopt",
            changes,
            "taken over from whoever made it",
        )
    if all(change.effect != REPLACE for change in observed.changes):
        if _is_new(ledger, desired, observed):
            return _of(desired, "adopt", changes, THERE)
        return _of(desired, "update", changes, effect)
    problem = "" if ledger.permits(desired, "replace") else WAITS
    return _of(desired, "replace", observed.changes, effect, HOLDS if desired.retain else problem)


def _is_new(ledger: Ledger, desired: Desired, observed: Observation) -> bool:
    """Whether the documents ask for the first time for what somebody else made."""
    return observed.origin is not Origin.OURS and not ledger.record(desired).exists


async def _deletion(ledger: Ledger, kind: External, gone: Gone) -> PlanLine:
    if never_made(ledger.record(gone), gone) and gone.policy not in LEFT_ALONE:
        return _of(gone, "no-op")
    if ledger.retained(gone.key) or gone.policy in LEFT_ALONE:
        return _of(gone, "no-op", effect=f"left in place ({why_left(ledger, gone)})")
    if not await _is_there(kind, gone):
        return _of(gone, "no-op", effect="gone already")
    problem = "" if ledger.permits(gone, "delete") else WAITS
    if ledger.adopted(gone.key):
        return _of(gone, "release", effect=RELEASED, problem=problem)
    return _of(gone, "delete", effect="delete", problem=problem)


async def _is_there(kind: External, gone: Gone) -> bool:
    """Whether it is still to be deleted. What cannot be looked at counts as there."""
    if gone.listed:
        return True
    try:
        return await kind.exists(gone.identity)
    except ReconcileError:
        return True


def _of(
    item: Desired | Gone,
    action: Action,
    changes: tuple[Change, ...] = (),
    effect: str = "",
    problem: str = "",
) -> PlanLine:
    return PlanLine(item.key, item.document, action, changes, effect, problem)


def _ordered(
    items: Mapping[ObjectKey, Desired] | Mapping[ObjectKey, Gone],
    wanted: Iterable[ObjectKey],
    more: Iterable[tuple[ObjectKey, ObjectKey]] = (),
) -> list[ObjectKey]:
    """`wanted` and everything they refer to, references first. Each pair in `more` puts its second
    key before its first. Otherwise in the order given.
    """
    needed: dict[ObjectKey, None] = {}
    asked = [key for key in items if key in set(wanted)]
    while asked:
        key = asked.pop()
        if key not in needed:
            needed[key] = None
            asked += [ref for ref in items[key].refs if ref in items]
    sorter: TopologicalSorter[ObjectKey] = TopologicalSorter()
    for key in items:
        if key in needed:
            sorter.add(key, *(ref for ref in items[key].refs if ref in items))
    for user, first in more:
        if user in needed and first in needed:
            sorter.add(user, first)
    return list(sorter.static_order())
