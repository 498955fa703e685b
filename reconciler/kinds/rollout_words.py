"""What a container app's conditions say of a rollout: a reason and a sentence."""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.kinds.hold import Hold
from reconciler.kinds.replicas import Seen
from reconciler.kinds.rollout import Action, Step, Verdict


def message(step: Step, seen: Seen, verdict: Verdict, held: Hold | None) -> str:
    if held:
        cause = held.cause or f"revision {held.refused} did not serve"
        state = "serves" if seen.proven else "is to serve again"
        return f"{cause}; revision {held.serves} {state} until the document's spec changes"
    if verdict.failed:
        return verdict.failed
    if step.action is Action.WAIT:
        return verdict.message or seen.message
    return step.message or seen.message


def reason(step: Step, seen: Seen, verdict: Verdict) -> Reason | None:
    if verdict.failed:
        return Reason.REVISION_FAILED
    if step.action not in (Action.NONE, Action.WAIT):
        return Reason.ROLLING_OUT
    if seen.proven:
        return Reason.SCALED_TO_ZERO if seen.asleep else None
    return Reason.STARTING if step.action is Action.WAIT else Reason.LOADING
