"""The outcome of a pass over one key, and the one function that turns any error into an outcome.
`controller` acts on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.api.reasons import Cause, Reason
from reconciler.engine.errors import (
    Busy,
    DecidedElsewhere,
    NotReadyYet,
    ReconcileError,
    SlowRetry,
    TerminalError,
    Throttled,
    WaitingForHuman,
)
from reconciler.engine.events import Event
from reconciler.engine.external import Observation
from reconciler.engine.record import Phase


@dataclass(frozen=True)
class Pacing:
    """Intervals, in seconds. No operation is polled before `soonest`. `fastest` and `slowest` bound
    the interval between looks at something under way. `slow` is the interval for what a person or
    the platform must change first. A document must be missing for `grace` before its objects are
    deleted. `pauses` are the delays before the second and the third write of the same difference;
    `stubborn` is the delay before a later one, or after a refusal that Azure calls final. After
    `blind` without a look, a status is `Unknown`.
    """

    soonest: float = 0.35
    fastest: float = 0.5
    slowest: float = 10.0
    slow: float = 60.0
    stubborn: float = 300.0
    grace: float = 30.0
    resync: float = 60.0
    pauses: tuple[float, float, float] = (0.0, 2.0, 10.0)
    blind: float = 120.0

    def step(self, elapsed: float) -> float:
        """When to look again at something that has been under way for `elapsed` seconds: the
        longer, the less often.
        """
        return min(self.slowest, max(self.fastest, 0.25 * elapsed))

    def look(self, told: float | None, elapsed: float = 0.0) -> float:
        """When to poll an operation: after the delay that the service asked for (`told`), but not
        before any operation can have ended; without such a delay, by how long it has run.
        """
        return self.step(elapsed) if told is None else max(told, self.soonest)


_TROUBLE = {Phase.RETRYING, Phase.BLOCKED, Phase.STALLED, Phase.NOT_CONVERGING}
# Reasons with which an object of phase Unready does not become ready by itself.
FAILING = {
    Reason.REVISION_FAILED,
    Reason.REPLICAS_MISSING,
    Reason.ADAPTER_FAILED,
    Reason.ADAPTER_NOT_SERVED,
    Reason.FETCH_FAILED,
    Reason.UNREACHABLE,
    Reason.OUT_OF_REACH,
}


@dataclass(frozen=True)
class Outcome:
    """`after` seconds from now the key is due again (None: at the next resync). With `backoff` its
    earlier failures set the time instead. With `hold` a resync does not cut the wait short.
    `observation` is what was seen in this pass, if anything was.
    """

    phase: Phase
    reason: Cause | None = None
    message: str = ""
    after: float | None = None
    backoff: bool = False
    hold: bool = False
    observation: Observation | None = None
    event: Event | None = None

    @property
    def troubled(self) -> bool:
        """Whether somebody should hear of it."""
        return self.phase in _TROUBLE or (self.phase is Phase.UNREADY and self.reason in FAILING)


def outcome_of(error: Exception, pacing: Pacing) -> Outcome:
    """The outcome for any error that a kind or the loop itself raised. Only the text of a
    `ReconcileError` is shown: that of any other error may hold secrets.
    """
    # Subclasses first, because the first class that matches wins.
    match error:
        case NotReadyYet():
            return Outcome(Phase.WAITING, error.reason, error.message, after=error.after)
        case WaitingForHuman():
            return Outcome(Phase.BLOCKED, error.reason, error.message, after=pacing.slow, hold=True)
        case DecidedElsewhere():
            return Outcome(Phase.STALLED, error.reason, error.message, after=pacing.slow)
        case TerminalError():
            # No time to come back: the same write most likely fails in the same way, and an edit
            # wakes it. Resyncs go on looking, and after some minutes one of them writes again.
            return Outcome(Phase.STALLED, error.reason, error.message)
        case Throttled(retry_after=float() | int() as seconds):
            return Outcome(
                # The service's own time: a resync that came before it would be throttled as well.
                Phase.RETRYING,
                error.reason,
                error.message,
                after=float(seconds),
                hold=True,
            )
        case SlowRetry():
            return Outcome(
                Phase.RETRYING, error.reason, error.message, after=pacing.slow, hold=True
            )
        case Busy():
            return Outcome(Phase.WORKING, error.reason, error.message, backoff=True)
        case ReconcileError():
            return Outcome(Phase.RETRYING, error.reason, error.message, backoff=True)
        case _:
            message = f"unexpected {type(error).__name__}; the log has the details"
            return Outcome(Phase.RETRYING, Reason.INTERNAL_ERROR, message, backoff=True)
