"""Events: what happened, once per real transition. `store` keeps a bounded number and counts
repetitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.api.reasons import Cause
from reconciler.engine.external import Change, DocumentRef

MAX_FIELDS = 20


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True)
class Event:
    """`object` is the text of an object key or of a document; `fields` are the paths that differed.
    Repeating the same type, reason, message and object only raises `count` and moves `last`
    (`first` and `last` in seconds).
    """

    type: EventType
    reason: Cause
    message: str
    object: str
    document: DocumentRef
    fields: tuple[str, ...] = ()
    count: int = 1
    first: float = 0.0
    last: float = 0.0


def normal(
    reason: Cause,
    message: str,
    about: object,
    document: DocumentRef,
    changes: Iterable[Change] = (),
) -> Event:
    return Event(EventType.NORMAL, reason, message, str(about), document, _paths(changes))


def warning(
    reason: Cause,
    message: str,
    about: object,
    document: DocumentRef,
    changes: Iterable[Change] = (),
) -> Event:
    return Event(EventType.WARNING, reason, message, str(about), document, _paths(changes))


def _paths(changes: Iterable[Change]) -> tuple[str, ...]:
    return tuple(change.path for change in changes)[:MAX_FIELDS]
