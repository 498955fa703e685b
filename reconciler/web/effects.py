"""What a person is told before an approval or a rollback from the page: what is done, and what
stops serving meanwhile. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from reconciler.api.kinds import Kind
from reconciler.api.resources import Return
from reconciler.engine.external import Impact, ObjectKey, Origin
from reconciler.engine.record import ObjectRecord
from reconciler.web.generations import Generation
from reconciler.web.service_view import DocumentView
from reconciler.web.view import PageView
from reconciler.web.wording import span

_DATA = {kind.value for kind in Kind if kind.holds_data}


class Effect(NamedTuple):
    """One sentence. With `stops` somebody's requests are not answered for a time, or any more."""

    text: str
    stops: bool = False
    changes: tuple[str, ...] = ()


def approval_effects(view: PageView, document: DocumentView, strategy: str) -> tuple[Effect, ...]:
    """What an approval of all that waits of `document` brings about."""
    waits = document.waits
    if waits is None:
        return ()
    records = {node.key: node for each in view.documents for node in each.nodes}
    refs = {key: node.refs for key, node in records.items()}
    found: list[Effect] = []
    for record in waits.ends:
        found += _end(record, refs)
    for record in sorted(waits.changes, key=lambda each: len(_below(each.key, refs))):
        found.append(_change(record, document, strategy))
    return tuple(found)


def rollback_effects(document: DocumentView, to: Generation, strategy: str) -> tuple[Effect, ...]:
    """What a rollback to the generation `to` brings about."""
    asked = document.app.asked_revision
    order = document.history.decision(to) if document.history else Return()
    found = []
    if order.adapters:
        served = ", ".join(to.versions) or "none"
        found.append(Effect(f"The adapters of generation {to.number} serve again: {served}."))
    if not order.serves:
        found.append(Effect("They are held until the spec of the document changes."))
        return tuple(found)
    target = next((each for each in document.app.revisions if each.name == to.revision), None)
    found.append(Effect(f"Revision {to.revision} takes the traffic of {asked}."))
    if target is not None and target.serving:
        found.append(Effect("It runs already, so the traffic moves at once."))
    else:
        found.append(_gap(document, strategy, "revision " + to.revision))
    found.append(Effect(f"Revision {asked} is held until the spec of the document changes."))
    return tuple(found)


def digest_of(effects: tuple[Effect, ...]) -> str:
    """What a confirmation is bound to: it counts only for what was read."""
    return hashlib.sha256(repr(effects).encode()).hexdigest()[:16]


def _end(record: ObjectRecord, refs: Mapping[ObjectKey, tuple[ObjectKey, ...]]) -> Iterator[Effect]:
    key = record.key
    if record.gone and record.origin is not Origin.OURS:
        yield Effect(f"{key} is released: it stays as it is, without Moorage's tags.")
        return
    verb = "deleted" if record.gone else "deleted and created again"
    yield Effect(f"{key} is {verb}.", changes=record.changes if not record.gone else ())
    for app in sorted(_apps_on(key, refs)):
        when = "stops serving" if record.gone else "does not serve until it is created again"
        yield Effect(f"{app.name} {when}.", stops=True)
    if key.kind in _DATA:
        yield Effect(f"What is stored in {key} is lost.", stops=True)


def _apps_on(key: ObjectKey, refs: Mapping[ObjectKey, tuple[ObjectKey, ...]]) -> set[ObjectKey]:
    """The container apps that depend on `key`, itself included."""
    found, asked = set[ObjectKey](), [key]
    seen = set(asked)
    while asked:
        at = asked.pop()
        if at.kind == Kind.APP:
            found.add(at)
        above = [each for each, below in refs.items() if at in below and each not in seen]
        seen.update(above)
        asked += above
    return found


def _below(key: ObjectKey, refs: Mapping[ObjectKey, tuple[ObjectKey, ...]]) -> set[ObjectKey]:
    """All objects that `key` depends on, those with the fewest dependencies first."""
    found, asked = set[ObjectKey](), [key]
    while asked:
        new = [each for each in refs.get(asked.pop(), ()) if each not in found]
        found.update(new)
        asked += new
    return found


def _change(record: ObjectRecord, document: DocumentView, strategy: str) -> Effect:
    if not record.exists:
        return Effect(f"{record.key} is created.")
    if not record.asks:
        text, changes = f"{record.key} is changed.", record.changes
        if record.key.kind == Kind.APP:
            gap = _gap(document, strategy, "it")
            return Effect(f"{text} If that needs a new revision, {gap.text}", gap.stops, changes)
        return Effect(text, changes=changes)
    gravest = max((each.impact for each in record.asks), key=lambda impact: impact.severity)
    text = f"{record.key} is changed: {gravest}."
    changes = tuple(
        each.change if each.impact == gravest else f"{each.change}   ({each.impact})"
        for each in record.asks
    )
    if record.key.kind != Kind.APP:
        return Effect(text, changes=changes)
    if gravest in (Impact.RESTART, Impact.REPLACE):
        why = dict.fromkeys(each.effect for each in record.asks if each.impact is gravest)
        return Effect(f"{text} {document.name} stops serving: {'; '.join(why)}.", True, changes)
    starts = _keeps(document, "the new revision") if gravest is Impact.NEW_REVISION else ""
    return Effect(f"{text} {starts or f'{document.name} keeps serving.'}", changes=changes)


def _predicted(document: DocumentView) -> str:
    seconds = next((e.startup.predicted_seconds for e in document.app.replicas if e.startup), None)
    return f" ({span(seconds)} predicted)" if seconds else ""


def _keeps(document: DocumentView, who: str) -> str:
    return f"{document.name} keeps serving while {who} starts{_predicted(document)}."


def _gap(document: DocumentView, strategy: str, who: str) -> Effect:
    """Whether requests are answered while a revision starts, by the strategy of the document."""
    long = _predicted(document)
    if strategy in ("Surge", "BlueGreen"):
        return Effect(_keeps(document, who))
    if strategy == "Recreate":
        return Effect(f"{document.name} does not serve while {who} starts{long}.", stops=True)
    text = (
        f"{document.name} keeps serving while {who} starts{long}, if there is room for both;"
        " otherwise nobody is served in that time."
    )
    return Effect(text, stops=True)
