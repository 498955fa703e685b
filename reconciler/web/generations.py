"""The generations of a service that can serve again, newest first, and what each changed: a new
revision or other adapters; and the attempts of which Azure made no revision.

The daemon notes the changes when it writes the container app (`note`) and when Azure refuses it
(`refused`); Azure lists the revisions, the share the adapters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from reconciler.api.outputs import (
    AppOutputs,
    CatalogueOutputs,
    KeptAdapters,
    Outputs,
    Revision,
    has_failed,
)
from reconciler.api.resources import Return
from reconciler.arm.apps import RETAINED
from reconciler.engine.store import Store
from reconciler.engine.waiting import Waiting

KEPT = 50  # notes of a service
LONGEST = 20  # paths in a note
SHORT = 12


@dataclass(frozen=True)
class Generation:
    """`number` counts the revisions and the changes of adapters from the first. `state` says what
    it does now, `served` whether Azure calls the revision healthy, `failed` that it calls it
    failed. `adapters` is the set that served with it, None where it is not known. `changes` are the
    fields that it changed, `commit` the commit of the documents; both are empty where the daemon
    did not make it. An attempt of which Azure made no revision has the number 0 and a `problem`.
    """

    number: int
    revision: str
    created: str
    state: str
    served: bool
    failed: bool = False
    changes: tuple[str, ...] = ()
    commit: str = ""
    adapters: KeptAdapters | None = None
    problem: str = ""

    @property
    def versions(self) -> tuple[str, ...]:
        """Its adapters, for people."""
        found = self.adapters.adapters if self.adapters else ()
        return tuple(f"{each.name} {each.digest[:SHORT]}" for each in found)

    def as_value(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "generation": self.number,
            "revision": self.revision,
            "createdTime": self.created,
            "state": self.state,
            "changes": list(self.changes),
        }
        if not self.number:
            value = {"revision": self.revision, "time": self.created, "problem": self.problem,
                     "changes": list(self.changes)}  # fmt: skip
        if self.adapters is not None:
            value["adapters"] = [each.dump() for each in self.adapters.adapters]
        return value | ({"commit": self.commit} if self.commit else {})


@dataclass(frozen=True)
class GenerationNote(Outputs):
    """What the daemon remembers of a revision that it asked for: when, and with `problem` why Azure
    refused it.
    """

    changes: tuple[str, ...] = ()
    commit: str = ""
    at: str = ""
    problem: str = ""


_UNKNOWN = GenerationNote()


@dataclass(frozen=True)
class History:
    """The generations of a service, from what was last seen of its container app and, for a model,
    of its catalogue.
    """

    app: AppOutputs
    catalogue: CatalogueOutputs | None = None
    notes: Mapping[str, GenerationNote] = field(default_factory=dict)

    @cached_property
    def rows(self) -> list[Generation]:
        """The newest ones, whose files stay on the share; newest first."""
        rows: list[Generation] = []
        steps = list(_steps(self.app.arm.revisions, self._sets))
        # What a revision serves now is its newest step. The newest set may be one for an engine
        # whose revision Azure has not made yet.
        newest = {revision.name: at for at, (_, _, revision, _) in enumerate(steps)}
        for place, (number, at, revision, adapters) in enumerate(steps):
            before = rows[-1] if rows else None
            begins = before is None or before.revision != revision.name
            made = self.notes.get(revision.name, _UNKNOWN) if begins else _UNKNOWN
            row = Generation(
                number,
                revision.name,
                at,
                self._state(revision, adapters, newest=newest[revision.name] == place),
                revision.health == "Healthy",
                has_failed(revision.running, revision.health),
                (*made.changes, *_differing(before, adapters)),
                made.commit,
                adapters,
            )
            rows.append(row)
        return rows[: -RETAINED - 1 : -1]

    @property
    def attempts(self) -> list[Generation]:
        """The revisions that Azure refused to make, newest first: nothing can go back to them."""
        there = {each.name for each in self.app.arm.revisions}
        return [
            Generation(
                0,
                name,
                made.at,
                "not made",
                False,
                True,
                made.changes,
                made.commit,
                None,
                made.problem,
            )
            for name, made in list(self.notes.items())[::-1]
            if made.problem and name not in there
        ][: RETAINED + 1]

    @property
    def listed(self) -> list[Generation]:
        """Generations and refused attempts together, newest first."""
        both = [*self.attempts, *self.rows]
        return sorted(both, key=lambda each: _instant(each.created), reverse=True)

    @property
    def older(self) -> list[Generation]:
        """Those that are not what the document asks for."""
        return [each for each in self.rows if self.decision(each) != Return()]

    def returnable(self, waits: Waiting | None) -> list[Generation]:
        """Those that a person can go back to. While a change of the document `waits`, what serves
        is none of them, because nothing has replaced it.
        """
        revisions = self.app.arm.revisions
        made = any(each.name == self.app.asked_revision for each in revisions)
        if made or waits is None or not waits.manual:
            return self.older
        serving = {each.name for each in revisions if each.active and each.weight}
        return [
            each
            for each in self.older
            if each.revision not in serving or self.decision(each).adapters
        ]

    @property
    def held(self) -> str:
        """Why something else serves than the document asks for; empty where that serves."""
        if self.app.held is not None:
            return f"{self._asked_does}: {self.app.held}"
        if self.catalogue is None or not self.catalogue.held:
            return ""
        return "earlier adapters serve: `moorage rollback` asked for them"

    @property
    def _asked_does(self) -> str:
        """What the revision does that a rollback refuses: it serves until another one can."""
        name = self.app.asked_revision
        found = next((each for each in self.app.arm.revisions if each.name == name), None)
        if found is None or not found.serving or not found.weight:
            return f"{name} does not serve"
        return f"{name} has {found.weight} % of the traffic until another revision serves"

    def decision(self, to: Generation) -> Return:
        """The order by which generation `to` serves again; an empty one for what the document asks
        for.
        """
        moves, others = to.revision != self.app.asked_revision, 0
        if to.adapters is not None and _content(to.adapters) != _content(self._documented):
            others = to.adapters.number
        return Return(
            (self.app.asked_revision or "") if moves else "",
            to.revision if moves else "",
            others,
            (self.catalogue.asked or "") if self.catalogue and others else "",
        )

    @property
    def _sets(self) -> tuple[KeptAdapters, ...]:
        return self.catalogue.sets if self.catalogue else ()

    @property
    def _documented(self) -> KeptAdapters | None:
        """The adapters that the document asked for last."""
        return next((each for each in reversed(self._sets) if each.back_to is None), None)

    def _state(self, revision: Revision, adapters: KeptAdapters | None, *, newest: bool) -> str:
        """What a revision with these adapters does now."""
        serves = revision.weight and revision.active and newest
        said = [f"{revision.weight} % of the traffic"] if serves else []
        if newest and has_failed(revision.running, revision.health):
            said.append("failed")
        if revision.name == self.app.asked_revision and adapters == self._documented:
            said.append("the document asks for it")
            if self.held:
                said.append("held")
        return ", ".join(said)


def _steps(
    revisions: Sequence[Revision], sets: Sequence[KeptAdapters]
) -> Iterator[tuple[int, str, Revision, KeptAdapters | None]]:
    """Each generation: its number, its time, its revision and its adapters. A new revision makes
    one, and so do other adapters, but for those of a new engine, which the revision after them
    serves first: adapters are published before the revision that needs them.
    """
    steps: list[tuple[datetime, int, Revision | KeptAdapters]] = [
        *((_instant(each.created_time), 1, each) for each in revisions),
        *((_instant(each.at), 0, each) for each in sets),
    ]
    known, engines = {each.name: each for each in revisions}, set[str]()
    made, number = 0, sets[0].number if sets else 1
    newest: Revision | None = None
    adapters: KeptAdapters | None = None
    for _, _, step in sorted(steps, key=lambda step: step[:2]):
        serves = newest
        if isinstance(step, Revision):
            made, newest, serves, at = made + 1, step, step, step.created_time or ""
        else:
            number, adapters, at = step.number, step, step.at
            serves = known.get(step.revision or "", newest)
            begins = bool(engines) and step.engine not in engines
            engines.add(step.engine)
            if begins:
                continue
        if serves is not None:
            yield made + number - 1, at, serves, adapters


def _instant(text: str | None) -> datetime:
    """To the second, as Azure gives it of revisions."""
    found = datetime.fromisoformat(text or "1970-01-01T00:00:00+00:00")
    return found.replace(microsecond=0)


def _content(adapters: KeptAdapters | None) -> object:
    return (adapters.engine, adapters.adapters) if adapters else None


def _differing(before: Generation | None, adapters: KeptAdapters | None) -> list[str]:
    """The adapters that are not as they were."""
    if before is None or before.adapters is None or adapters is None:
        return []
    was = {each.name: each.digest for each in before.adapters.adapters}
    now = {each.name: each.digest for each in adapters.adapters}
    names = dict.fromkeys([*now, *was])
    return [f"adapters[{name}]" for name in names if was.get(name) != now.get(name)]


def note(
    store: Store, service: str, revision: str, paths: Sequence[str], commit: str = "", at: str = ""
) -> None:
    """Remember which fields a new revision of the service changed; the first note of a revision
    stays.
    """
    known = notes_of(store, service)
    if revision not in known:
        paths = tuple(dict.fromkeys(paths))[:LONGEST]
        _keep(store, service, {**known, revision: GenerationNote(paths, commit, at)})


def refused(store: Store, service: str, revision: str, problem: str) -> None:
    """Remember why Azure made no revision of what was asked for; the newest cause stays."""
    known = notes_of(store, service)
    if revision in known and known[revision].problem != problem:
        _keep(store, service, {**known, revision: replace(known[revision], problem=problem)})


def _keep(store: Store, service: str, known: Mapping[str, GenerationNote]) -> None:
    kept = list(known.items())[-KEPT:]
    store.put(_name(service), json.dumps({name: each.dump() for name, each in kept}))


def notes_of(store: Store, service: str) -> dict[str, GenerationNote]:
    """What `note` kept, by revision; nothing where it cannot be read, for it only tells people."""
    try:
        found = json.loads(store.get(_name(service)) or "{}")
    except ValueError:
        return {}
    stored = found.items() if isinstance(found, dict) else ()
    return {name: each for name, raw in stored if (each := GenerationNote.load(raw)) is not None}


def _name(service: str) -> str:
    return f"generations {service}"
