"""The generations of a service that can serve again, newest first, and what each changed.

The daemon notes the changes when it writes the container app (`note`); Azure lists the revisions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.api.outputs import AppOutputs, Outputs
from reconciler.arm.apps import RETAINED
from reconciler.engine.store import Store

KEPT = 50  # notes of a service
LONGEST = 20  # paths in a note


@dataclass(frozen=True)
class Generation:
    """`number` counts the app's revisions from its first. `state` says what it does now, `served`
    whether Azure calls it healthy. `changes` are the fields that it changed, `commit` the commit
    of the documents; both are empty where the daemon did not make it.
    """

    number: int
    revision: str
    created: str
    state: str
    served: bool
    changes: tuple[str, ...] = ()
    commit: str = ""

    def as_value(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "generation": self.number,
            "revision": self.revision,
            "createdTime": self.created,
            "state": self.state,
            "changes": list(self.changes),
        }
        return value | ({"commit": self.commit} if self.commit else {})


@dataclass(frozen=True)
class GenerationNote(Outputs):
    """What the daemon remembers of a revision that it made."""

    changes: tuple[str, ...] = ()
    commit: str = ""


def generations(app: AppOutputs, notes: Mapping[str, GenerationNote]) -> list[Generation]:
    """The newest ones, whose files stay on the share."""
    oldest_first = sorted(app.arm.revisions, key=lambda each: each.created_time or "")
    rows = [
        Generation(
            number,
            each.name,
            each.created_time or "",
            _state(app, each.name),
            each.health == "Healthy",
            notes[each.name].changes if each.name in notes else (),
            notes[each.name].commit if each.name in notes else "",
        )
        for number, each in enumerate(oldest_first, 1)
    ]
    return rows[: -RETAINED - 1 : -1]


def note(store: Store, service: str, revision: str, paths: Sequence[str], commit: str = "") -> None:
    """Remember which fields a new revision of the service changed; the first note of a revision
    stays.
    """
    known = notes_of(store, service)
    if revision in known:
        return
    known[revision] = GenerationNote(tuple(dict.fromkeys(paths))[:LONGEST], commit)
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


def _state(app: AppOutputs, name: str) -> str:
    found = next(each for each in app.arm.revisions if each.name == name)
    said = [f"{found.weight} % of the traffic"] if found.weight and found.active else []
    if name == app.asked_revision:
        said.append("the document asks for it")
        if app.held is not None:
            said.append("held")
    return ", ".join(said)
