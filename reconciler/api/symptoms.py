"""Which reasons tell a cause, and which only what follows from one: the order in which people read
what is not well.
"""

from __future__ import annotations

from reconciler.api.reasons import Reason

# Something does not answer, or is not there, or nobody could look. Each is told after the reason
# that says why, and alone where nothing does.
SYMPTOMS = frozenset(
    {
        Reason.NOT_READY,
        Reason.MISSING,
        Reason.NOT_OBSERVED,
        Reason.REPORT_STALE,
        Reason.REPORT_UNREADABLE,
        Reason.UNREACHABLE,
        Reason.OUT_OF_REACH,
        Reason.OPERATION_FAILED,
        Reason.DRIFT_FOUND,
        Reason.OBSERVE_ONLY,
        Reason.SCALED_TO_ZERO,
        Reason.RETAINED,
    }
)


def rank(reason: str, remedy: str) -> int:
    """0 for what a person has to mend, 1 for what follows from something else, 2 for what passes by
    itself.
    """
    if remedy == "wait":
        return 2
    return 1 if reason in SYMPTOMS else 0
