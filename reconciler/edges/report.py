"""How a failing edge is reported: a log line each time, an event, and the condition `Watched` of
the documents concerned. When it works again, an event says so and the condition goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from reconciler.api.reasons import Cause, Reason
from reconciler.edges.edge import Edge
from reconciler.engine.errors import ReconcileError, RetryableError
from reconciler.engine.events import Event, normal, warning
from reconciler.engine.external import DocumentRef

log = structlog.get_logger(__name__)


class Conditions(Protocol):
    """The part of the loop's controller that is needed here."""

    def set_trouble(
        self, name: str, reason: Cause, message: str, documents: Collection[DocumentRef] | None
    ) -> None: ...

    def clear_trouble(self, name: str) -> None: ...


class EdgeReports:
    """`add_event` stores an event."""

    def __init__(self, conditions: Conditions, add_event: Callable[[Event], None]) -> None:
        self._conditions = conditions
        self._add_event = add_event
        self._told: dict[str, str] = {}

    def failed(self, edge: Edge, error: Exception, failures: int, pause: float) -> None:
        reason, what = said(error)
        log.warning(
            "edge failed",
            edge=edge.name,
            reason=reason,
            message=what,
            again_after=pause,
            exc_info=None if isinstance(error, ReconcileError | OSError) else error,
        )
        if failures == 1 and isinstance(error, RetryableError):
            return  # Azure refuses single calls now and then, which needs no event
        message = f"{edge.name}: {what}; tried again every so often"
        documents = edge.concerns()
        self._conditions.set_trouble(edge.name, reason, message, documents)
        if self._told.get(edge.name) != message:
            self._told[edge.name] = message
            about = _about(edge, documents)
            self._add_event(warning(reason, message, about, about))

    def recovered(self, edge: Edge) -> None:
        log.info("edge works again", edge=edge.name)
        self._conditions.clear_trouble(edge.name)
        if self._told.pop(edge.name, None):
            about = _about(edge, edge.concerns())
            self._add_event(normal(Reason.RECOVERED, f"{edge.name}: works again", about, about))


def said(error: Exception) -> tuple[Cause, str]:
    """Reason and sentence. Only the texts of our own and of the operating system's errors are
    shown, because any other may contain a secret.
    """
    if isinstance(error, ReconcileError):
        return error.reason, error.message
    if isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        return Reason.INTERNAL_ERROR, f"{error.strerror}{place}"
    return (
        Reason.INTERNAL_ERROR,
        f"unexpected {type(error).__name__}; the log has the details",
    )


def _about(edge: Edge, documents: Collection[DocumentRef] | None) -> DocumentRef:
    """The subject of the one event: the document concerned, or the edge if there are several."""
    if documents is not None and len(documents) == 1:
        return next(iter(documents))
    return DocumentRef("Daemon", edge.name)
