"""Everything the page shows, as one value built from the store: the only thing that the templates
read. No HTTP, no Azure.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import NamedTuple

from reconciler.api.reasons import Reason
from reconciler.engine.events import Event
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import DocumentRow, Store
from reconciler.engine.waiting import waiting_in
from reconciler.web.axes import PlainCause, Tone, split_lines
from reconciler.web.generations import notes_of
from reconciler.web.service_view import DocumentView, document_view
from reconciler.web.snippets import FORMATS, Access, gateway_models
from reconciler.web.spending import ReplicaPrice, Spending, spending_of, total
from reconciler.web.stages import RolloutStage, StageState, stages_of

TIMELINE = 200  # events on a page
LATELY = 60.0  # seconds
CLIENTS = ("curl", "env", "python")


@dataclass(frozen=True)
class PageFacts:
    """What the store does not know. Not `leading` means that another daemon writes. `options` are
    those with which a command reaches the same target and state; `elapsed` is the present instant
    of the daemon's clock, `version` grows with what is written to the
    store; `prices` are those of one replica, by service.
    """

    target: str
    leading: bool
    options: str = ""
    ca_file: str = ""
    boot: str = ""
    elapsed: float = 0.0
    commit: str = ""
    version: int = 0
    prices: Mapping[str, ReplicaPrice] = field(default_factory=dict)


@dataclass(frozen=True)
class PageView:
    """All documents, and what can be said of them together."""

    facts: PageFacts
    now: datetime
    documents: tuple[DocumentView, ...]
    problems: tuple[str, ...]
    events: tuple[Event, ...]

    @property
    def services(self) -> tuple[DocumentView, ...]:
        return tuple(each for each in self.documents if each.is_service)

    @property
    def environments(self) -> tuple[DocumentView, ...]:
        return tuple(each for each in self.documents if not each.is_service)

    @property
    def unfit(self) -> tuple[DocumentView, ...]:
        """The Environments that are not in place: nothing in them can be well."""
        return tuple(each for each in self.environments if each.health.tone is Tone.BAD)

    @property
    def waiting(self) -> tuple[DocumentView, ...]:
        return tuple(each for each in self.documents if each.waits)

    @property
    def billed(self) -> int:
        return sum(each.billed for each in self.services)

    @property
    def idle(self) -> int:
        return sum(each.idle for each in self.services)

    def spending(self, document: DocumentView) -> Spending:
        """What a service costs as it runs now."""
        return spending_of(document.app, self.facts.prices.get(document.name))

    @property
    def costs(self) -> str:
        """What an hour of all services costs as they run now."""
        return total([self.spending(each) for each in self.services if each.billed])

    @property
    def tone(self) -> Tone:
        order = [Tone.BAD, Tone.WARN, Tone.BUSY, Tone.QUIET, Tone.GOOD]
        if self.problems:
            return Tone.BAD
        return min((each.tone for each in self.documents), key=order.index, default=Tone.QUIET)

    @property
    def verdict(self) -> str:
        """The state of everything in a sentence or two."""
        services = self.services
        if not services:
            return "No service is in the documents."
        down = [each for each in services if not each.serves]
        if len(services) == 1:
            said = services[0].verdict
        elif not down:
            asleep = sum(each.health.word == "Asleep" for each in services)
            rest = f", {asleep} of them scaled to zero" if asleep else ""
            said = f"All {len(services)} services serve{rest}."
        else:
            names = ", ".join(each.name for each in down[:3])
            more = f" and {len(down) - 3} more" if len(down) > 3 else ""
            verb = "does" if len(down) == 1 else "do"
            serving = len(services) - len(down)
            serve = "serves" if serving == 1 else "serve"
            said = f"{serving} of {len(services)} services {serve}; {names}{more} {verb} not."
        for each in self.unfit:
            said += f" Environment {each.name} is not in place."
        unapplied = [each for each in self.documents if each.sync.word in ("Out of sync", "Held")]
        if unapplied and len(services) > 1:
            many = len(unapplied) > 1
            said += f" {len(unapplied)} document{'s are' if many else ' is'} not applied."
        if self.problems:
            what = f"Commit {self.facts.commit[:12]}" if self.facts.commit else "The last save"
            said += f" {what} is refused, and the version before it goes on."
        if self.waiting and not (len(services) == 1 and services[0].waits):
            plans = len(self.waiting)
            said += f" {plans} {'plan waits' if plans == 1 else 'plans wait'} for you."
        return said

    def find(self, kind: str, name: str) -> DocumentView | None:
        return next((each for each in self.documents if each.ref == (kind, name)), None)

    def events_of(self, ref: DocumentRef, limit: int = TIMELINE) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event.document == ref)[:limit]

    def causes_of(self, document: DocumentView) -> tuple[PlainCause, ...]:
        """What is not well. A rollback keeps its cause in a tag, which holds little: the log lines
        come whole from the event of the failure.
        """
        told = [split_lines(event.message)[1] for event in self.events_of(document.ref)]
        return tuple(
            each._replace(lines=next((t for t in told if _begins(t, each.lines)), each.lines))
            for each in document.causes
        )

    def decided_lately(self, ref: DocumentRef) -> Event | None:
        """A person's decision that the daemon may not have acted on yet."""
        made = (event for event in self.events_of(ref) if event.reason == Reason.DECIDED)
        found = next(made, None)
        return found if found and self.now.timestamp() - found.last < LATELY else None


def _begins(whole: Sequence[str], cut: Sequence[str]) -> bool:
    """Whether `cut` is the beginning of `whole`, and ends in an ellipsis."""
    if not cut or not cut[-1].endswith("..."):
        return False
    begin = " | ".join(cut).removesuffix("...").rstrip()
    return " | ".join(whole).startswith(begin) and len(" | ".join(whole)) > len(begin)


def view_of(
    store: Store, facts: PageFacts, now: datetime, records: Iterable[ObjectRecord] | None = None
) -> PageView:
    """The view of what the daemon last observed, newest events first. `records` are those of the
    store, where a caller has them in memory.
    """
    known = {record.key: record for record in (store.objects() if records is None else records)}
    events = tuple(reversed(store.events(limit=1000)))
    return _view(store, facts, now, known, store.documents(), events)


def moving_view(
    store: Store, facts: PageFacts, now: datetime, records: Iterable[ObjectRecord] | None = None
) -> PageView:
    """The view without events and without the documents of which every object is as it is to be:
    of a thousand services a few move, and a view of all would hold up the loop for 0.2 s.
    """
    known = {record.key: record for record in (store.objects() if records is None else records)}
    moves = {r.document for r in known.values() if r.phase is not Phase.READY or not r.synced}
    seen = {record.document for record in known.values()}
    rows = [
        row
        for row in store.documents()
        if row.ref in moves or row.ref not in seen or row.observed != row.generation
    ]
    return _view(store, facts, now, known, rows, ())


def _view(
    store: Store,
    facts: PageFacts,
    now: datetime,
    known: Mapping[ObjectKey, ObjectRecord],
    found: Iterable[DocumentRow],
    events: tuple[Event, ...],
) -> PageView:
    rows = sorted(found, key=lambda row: (row.ref.kind, row.ref.name))
    waits = {each.document: each for each in waiting_in(rows, known.values())}
    own: dict[DocumentRef, list[ObjectKey]] = defaultdict(list)
    for key, record in known.items():
        own[record.document].append(key)
    documents = tuple(
        document_view(
            row,
            known,
            own[row.ref],
            waits.get(row.ref),
            partial(notes_of, store, row.ref.name),
        )
        for row in rows
    )
    problems = tuple((store.get("problems") or "").splitlines())
    return PageView(facts, now, documents, problems, events)


def stages(store: Store, view: PageView, document: DocumentView) -> tuple[RolloutStage, ...]:
    """What is happening to a service now; empty where it is at rest or on its way out."""
    rests = document.health.tone is Tone.GOOD and document.sync.tone is Tone.GOOD
    if not document.is_service or rests or (document.waits and document.waits.ends):
        return ()
    same = store.get("boot") == view.facts.boot
    elapsed = view.facts.elapsed if same else None
    found = stages_of(document.nodes, document.records, document.app, view.now, elapsed)
    # What is held or was rolled back is not under way.
    return found if any(each.state is not StageState.DONE for each in found) else ()


class Snippet(NamedTuple):
    """Lines to paste that use a service."""

    title: str
    text: str


def snippets_of(view: PageView, document: DocumentView) -> tuple[Snippet, ...]:
    """What `moorage client` prints for the commonest clients; none before there is an endpoint."""
    name, endpoint, models = document.name, document.app.endpoint, document.models
    if document.gateway:
        behind = {each.name for each in document.gateway.services}
        there = [each for each in view.services if each.name in behind]
        models = gateway_models([(each.name, model) for each in there for model in each.models])
        name, endpoint = document.gateway_app, document.gateway_endpoint if models else None
    if not endpoint:
        return ()
    key = f"moorage key {shlex.quote(name)}{view.facts.options}"
    access = Access(name, endpoint, models, view.facts.ca_file, key)
    chosen = (FORMATS[each] for each in (CLIENTS if models else CLIENTS[:1]))
    return tuple(Snippet(title, write(access)) for title, write in chosen)
