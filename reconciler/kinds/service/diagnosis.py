"""Why a service is not as its document asks, from what a pass has seen: one reason and one message.
`container_app` asks; `cause` reads what Azure and the container say of a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.api.conditions import Status
from reconciler.api.decided import WAY_OUT
from reconciler.api.reasons import Cause, Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.engine.external import Mark
from reconciler.kinds.service import quota
from reconciler.kinds.service.cause import Causes, meanwhile
from reconciler.kinds.service.hold import Hold
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.rollout import Action, Step, Verdict


@dataclass(frozen=True)
class Situation:
    """What a pass knows of a service: the app `found`, what runs, the rollout's next step, the
    decision that holds it back, and the marks of its endpoint.
    """

    spec: ContainerAppSpec
    found: Mapping[str, Any]
    seen: Seen
    step: Step
    verdict: Verdict = field(default_factory=Verdict)
    held: Hold | None = None
    reached: Sequence[Mark] = ()


@dataclass(frozen=True)
class Diagnosis:
    """The reason and message for a service. `complete` means that nothing is missing, `unreachable`
    that its endpoint does not answer.
    """

    reason: Cause | None
    message: str
    complete: bool = False
    unreachable: bool = False


async def diagnose(causes: Causes, case: Situation) -> Diagnosis:
    """The gravest cause why the service is not as desired."""
    seen, step, verdict = case.seen, case.step, case.verdict
    # The order decides: a cause that a person must act on comes before one that may pass.
    if case.held:
        return await _rolled_back(causes, case, case.held)
    if verdict.failed:
        message = f"{verdict.failed}. {meanwhile(case.spec, seen)}"
        return Diagnosis(Reason.REVISION_FAILED, message)
    if step.action is Action.PAUSE:
        return Diagnosis(Reason.AWAITING_PROMOTION if step.asks else Reason.PAUSED, step.message)
    if step.action not in (Action.NONE, Action.WAIT):
        return Diagnosis(Reason.ROLLING_OUT, step.message or seen.message, complete=seen.proven)
    if seen.wanted is not None and seen.wanted.failed:
        return await _failed(causes, case)
    if step.action is Action.WAIT:
        return await _starting(causes, case)
    if not seen.proven:
        return Diagnosis(seen.unproven, seen.message)
    for mark in case.reached:
        if mark.status is not Status.TRUE:
            silent = mark.status is Status.FALSE
            return Diagnosis(mark.reason, mark.message, unreachable=silent)
    if seen.missing or (seen.wanted is not None and seen.wanted.limps):
        return await _lacking(causes, case)
    return Diagnosis(Reason.SCALED_TO_ZERO if seen.asleep else None, "", complete=True)


async def _rolled_back(causes: Causes, case: Situation, held: Hold) -> Diagnosis:
    spec, seen = case.spec, case.seen
    cause = held.cause or f"revision {held.refused} did not serve"
    state = "serves" if seen.proven else "is to serve again"
    message = f"{cause}; revision {held.serves} {state} until the document's spec changes"
    if not seen.proven and seen.wanted is not None and seen.wanted.failed:
        words = await causes.of_failure("", spec, case.found, seen)
        message = f"{message}. {words}. {meanwhile(spec, seen)}"
        message += f". {WAY_OUT}" if held.by_person else ""
    return Diagnosis(Reason.ROLLED_BACK, message, complete=seen.proven)


async def _failed(causes: Causes, case: Situation) -> Diagnosis:
    spec, seen = case.spec, case.seen
    said = seen.message or case.step.message
    message = await causes.of_failure(said, spec, case.found, seen)
    # Without a GPU the revision never ran, so nothing in the document is wrong: quota is missing.
    full = await causes.never_placed(spec, case.found, seen)
    reason = Reason.REPLICAS_MISSING if full else Reason.REVISION_FAILED
    return Diagnosis(reason, f"{message}. {meanwhile(spec, seen)}")


async def _starting(causes: Causes, case: Situation) -> Diagnosis:
    """A start takes its time: perhaps no GPU is free."""
    spec, seen = case.spec, case.seen
    message = case.verdict.message or seen.message or case.step.message
    placed = seen.proven or seen.mine or seen.wanted is None
    if placed or not quota.counts(spec):
        return Diagnosis(Reason.STARTING, message, complete=seen.proven)
    why = await causes.full_quota(spec, case.found)
    # A GPU that another replica holds may become free; a quota of none only a person can raise.
    never = why.endswith(quota.NONE)
    reason = Reason.REPLICAS_MISSING if never else Reason.STARTING
    return Diagnosis(reason, _joined(message, why))


async def _lacking(causes: Causes, case: Situation) -> Diagnosis:
    seen = case.seen
    why = await causes.full_quota(case.spec, case.found)
    limps = seen.wanted is not None and seen.wanted.limps
    reason = Reason.REPLICAS_MISSING if why or seen.late or limps else Reason.STARTING
    return Diagnosis(reason, _joined(seen.lacking, why))


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
