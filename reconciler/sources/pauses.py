"""Documents that a person has paused: their objects are only looked at. `orders` keeps the other
orders of people. Neither documents nor their parser are imported, because `moorage status` reads
pauses too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from reconciler.engine.external import Desired, DocumentRef, Policy
from reconciler.engine.store import Store
from reconciler.sources.decisions import SOMEBODY, note_decision

_PAUSED = "paused "


class Pause(NamedTuple):
    """Since when a document is paused, in seconds since 1970, and who paused it."""

    since: float
    who: str


def order_pause(store: Store, document: DocumentRef, at: float, who: str = SOMEBODY) -> None:
    """Write nothing for the document until `end_pause`, and wake the daemon. A document that is
    paused already keeps the time and the person of its pause.
    """
    if pause_of(store, document) is None:
        store.put(_paused(document), f"{at} {who}")
        note_decision(store, document, "paused it", who, at)
    store.put("approvals", str(at))


def end_pause(store: Store, document: DocumentRef, at: float, who: str = SOMEBODY) -> None:
    if pause_of(store, document) is not None:
        store.put(_paused(document), None)
        note_decision(store, document, "resumed it", who, at)
    store.put("approvals", str(at))


def pause_of(store: Store, document: DocumentRef) -> Pause | None:
    """The pause of a document; None while it has none."""
    since, _, who = (store.get(_paused(document)) or "").partition(" ")
    return Pause(float(since), who or SOMEBODY) if since else None


def show_pauses(documents: Sequence[dict[str, Any]], store: Store) -> None:
    """Add `pausedAt` and `pausedBy` to each paused document of the status."""
    for document in documents:
        pause = pause_of(store, DocumentRef(document["kind"], document["name"]))
        if pause is not None:
            at = datetime.fromtimestamp(pause.since, UTC)
            document["pausedAt"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            document["pausedBy"] = pause.who


def with_pauses(desired: Sequence[Desired], store: Store) -> list[Desired]:
    """`desired`, with the objects of paused documents only observed."""
    paused = store.starting(_PAUSED)
    if not paused:
        return list(desired)
    writes = (Policy.MANAGE, Policy.ASK)
    return [
        replace(item, policy=Policy.PAUSED)
        if str(item.document) in paused and item.policy in writes
        else item
        for item in desired
    ]


def _paused(document: DocumentRef) -> str:
    return f"{_PAUSED}{document}"
