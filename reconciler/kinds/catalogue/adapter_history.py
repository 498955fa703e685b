"""The sets of adapters that a service has served, each a file on the share. `moorage rollback` goes
back to one; the decision for it, which replaces the document's adapters, is kept here too.

Only the daemon reads them; `adapter_catalogue` writes one whenever the adapters change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from pydantic import AwareDatetime

from reconciler.api.decided import ASKED
from reconciler.api.outputs import KeptAdapter, KeptAdapters
from reconciler.api.resources import CatalogueSpec
from reconciler.engine.external import Change
from reconciler.engine.fingerprint import fingerprint
from reconciler.kinds.catalogue.canary import SHORT, asked
from serving.catalogue import LONGEST, Adapter, Catalogue, Contract, Held, sealed, unsealed

FILE_NAME = re.compile(r"^(?P<number>\d{9})\.json$")
LATER = 0.0005  # seconds between two orders that are two


class Decision(Contract):
    """A person's decision: the adapters of set `to` serve while the document asks for `asked`, a
    digest of all that it says about adapters. `revision` serves with them.
    """

    asked: str
    to: int
    at: AwareDatetime
    revision: str = ""


class AdapterSet(Contract):
    """The adapters of `engine` from `at` on."""

    number: int
    at: AwareDatetime
    engine: str
    adapters: tuple[Adapter, ...] = ()
    decision: Decision | None = None

    @property
    def file_name(self) -> str:
        return f"{self.number:09d}.json"

    def dump(self) -> bytes:
        return sealed("adapters", self.model_dump(mode="json", by_alias=True))

    @classmethod
    def load(cls, data: bytes) -> Self | None:
        try:
            return cls.model_validate(unsealed("adapters", data, LONGEST))
        except ValueError:
            return None

    @property
    def served(self) -> tuple[object, ...]:
        """What distinguishes this set from the one before it."""
        names = tuple((each.name, each.desired) for each in self.adapters)
        return self.engine, names, self.decision


def folder_of(spec: CatalogueSpec) -> str:
    return f"services/{spec.service}/history"


def asked_set(spec: CatalogueSpec) -> str:
    """A digest of the document's entries for all adapters and of the revision that it asks for. A
    decision ends when one of these changes.
    """
    return fingerprint(spec.revision, spec.engine, [asked(adapter) for adapter in spec.adapters])


def standing(spec: CatalogueSpec, kept: Sequence[AdapterSet]) -> AdapterSet | None:
    """The set that serves in place of the document's adapters; None where no decision stands."""
    words, order, last = asked_set(spec), spec.back, kept[-1] if kept else None
    decided = last.decision if last and last.decision and last.decision.asked == words else None
    if order is None or order.asked != words:
        return last if decided else None
    if decided and order.at - decided.at.timestamp() <= LATER:
        return last
    to = next((each for each in kept if each.number == order.to), None)
    if to is None:  # it existed when the person decided, and has been removed since
        return last if decided else None
    at = datetime.fromtimestamp(order.at, UTC)
    decision = Decision(asked=words, to=order.to, at=at, revision=order.revision)
    return to.model_copy(update={"decision": decision})


def aimed(spec: CatalogueSpec, back: AdapterSet | None) -> CatalogueSpec:
    """The catalogue to look at and to write: that of the set's engine."""
    return replace(spec, engine=back.engine) if back else spec


def returned(back: AdapterSet) -> tuple[Adapter, ...]:
    """The adapters of the set that a person went back to, each marked as held against the
    document.
    """
    decision = back.decision
    assert decision is not None
    held = Held(
        asked=decision.asked,
        outcome="RolledBack",
        message=f"set {decision.to} serves again; {ASKED} it",
        at=decision.at,
    )
    return tuple(each.model_copy(update={"held": held}) for each in back.adapters)


def explained(back: AdapterSet) -> str:
    """Why the document's adapters do not serve, and what ends that."""
    named = ", ".join(f"{each.name} {each.desired.digest[:SHORT]}" for each in back.adapters)
    return (
        f"{ASKED} earlier adapters, and they serve until the document's spec"
        f" changes: {named or 'none'}"
    )


def following(
    catalogue: Catalogue, back: AdapterSet | None, names: Sequence[str], at: datetime
) -> AdapterSet:
    """The set of adapters in a new catalogue, numbered after the files in `names`."""
    numbers = [int(found["number"]) for name in names if (found := FILE_NAME.match(name))]
    adapters = tuple(
        each.model_copy(update={"held": None, "canary": None, "last_good": None})
        for each in catalogue.adapters
    )
    return AdapterSet(
        number=max(numbers, default=0) + 1,
        at=at,
        engine=catalogue.engine,
        adapters=adapters,
        decision=back.decision if back else None,
    )


def changes_of(kept: Sequence[AdapterSet], back: AdapterSet | None) -> tuple[Change, ...]:
    """The difference between the decision on the share and the one that stands, even if both mean
    the same adapters: an old decision on the share would stand again once the document returns to
    its former text.
    """
    there, wanted = kept[-1].decision if kept else None, back.decision if back else None
    if there == wanted:
        return ()
    before, after = (f"set {each.to}" if each else None for each in (there, wanted))
    return (Change("adapters.rolledBackTo", before, after, "hot"),)


def outputs_of(kept: Iterable[AdapterSet]) -> tuple[KeptAdapters, ...]:
    return tuple(
        KeptAdapters(
            each.number,
            each.at.isoformat(timespec="seconds"),
            each.engine,
            tuple(KeptAdapter(one.name, one.desired.digest) for one in each.adapters),
            each.decision.to if each.decision else None,
            each.decision.revision if each.decision else None,
        )
        for each in kept
    )
