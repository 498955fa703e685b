"""What the loop must know of a document besides its objects: `ledger` keeps it, `summary` makes
conditions of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.api.reasons import Cause
from reconciler.engine.external import Desired, DocumentRef


@dataclass(frozen=True)
class DocumentRefusal:
    """Why nothing of a document is written: it asks for something impossible, or, with `waits`, for
    a source that is still on its way.
    """

    reason: Cause
    message: str
    waits: bool = False


@dataclass(frozen=True)
class DocumentState:
    """What the loop must know of a document besides its objects.

    `scope` groups documents that share a prune policy (the Environment's name). With a `refusal`
    its objects stay as they last were, and nothing of the new version is written.
    """

    ref: DocumentRef
    generation: int = 1
    scope: str = ""
    prune: bool = False
    refusal: DocumentRefusal | None = None


@dataclass(frozen=True)
class GoneDocument:
    """A document that is no longer there. `needs_person`: so many disappeared with it that a person
    must confirm it.
    """

    state: DocumentState
    since: float
    needs_person: bool = False


def with_implicit(
    documents: Sequence[DocumentState], desired: Sequence[Desired]
) -> list[DocumentState]:
    """Objects may belong to a document nobody wrote (the default Environment)."""
    named = {state.ref for state in documents}
    implicit = {
        item.document: DocumentState(item.document, item.generation)
        for item in desired
        if item.document not in named
    }
    return [*documents, *implicit.values()]
