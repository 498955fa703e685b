"""What a rollout or a rollback does next, decided from what is there. Pure and level-triggered: it
holds no state between calls, so a daemon that dies in the middle goes on where Azure stands.

`trial` judges the new revision, `rollout_steps` knows its steps, `hold` is the decision against it,
`container_app` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from reconciler.api.outputs import Revision
from reconciler.kinds.service.hold import Hold
from reconciler.kinds.service.rollout_steps import RolloutSteps


class Action(Enum):
    """Each value is one write, except NONE, WAIT and PAUSE."""

    NONE = "none"
    WAIT = "wait"
    PAUSE = "pause"
    WRITE = "write the template"
    ACTIVATE = "activate"
    SHIFT = "move the traffic"
    DEACTIVATE = "deactivate"
    HOLD = "roll back"
    RELEASE = "forget the rollback"


@dataclass(frozen=True)
class Step:
    """The next write. `revisions` are the revisions it acts on. A SHIFT sets the traffic to
    `weights`. For a PAUSE, `asks` says that a person ends it, `left` in how many seconds to look
    again.
    """

    action: Action
    revisions: tuple[str, ...] = ()
    weights: Mapping[str, int] | None = None
    message: str = ""
    asks: bool = False
    left: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What is known of the wanted revision besides its state in Azure: `failed` says why it will
    not serve, `answered` that it may take traffic because its smoke request was answered as asked,
    `unmet` what the evaluation of the present step still lacks. `instead` is the revision that a
    person wants to serve; empty means the last good one.
    """

    failed: str = ""
    answered: bool = True
    message: str = ""
    instead: str = ""
    unmet: str = ""


def next_step(
    wanted: str,
    strategy: str,
    revisions: Sequence[Revision],
    weights: Mapping[str, int],
    verdict: Verdict | None = None,
    hold: Hold | None = None,
    steps: RolloutSteps | None = None,
) -> Step:
    """The step from `revisions` and the traffic `weights` (revision name -> 0..100) toward `wanted`
    alone serving, or back from it when it has `failed` or `hold` refuses it.

    `strategy` is Surge, Recreate or BlueGreen (Auto is resolved by the caller, who knows the
    quota). Nothing is taken from the old revision before the new one is healthy, except by
    Recreate; then the old one comes back when the new one fails.
    """
    verdict = verdict or Verdict()
    if hold and hold.refused == wanted and _named(hold.serves, revisions):
        if _serves_meanwhile(hold.serves, revisions, weights):
            back = "Surge" if strategy == "BlueGreen" else strategy  # a rollback takes no steps
            return _forward(hold.serves, back, revisions, weights, Verdict(), RolloutSteps())
        return _backward(hold.serves, revisions, weights)
    # Without another good revision a failed one stays: there is nothing to go back to.
    good = verdict.instead or last_good(wanted, revisions, weights)
    if verdict.failed and good:
        return Step(Action.HOLD, (wanted, good), message=verdict.failed)
    step = _forward(wanted, strategy, revisions, weights, verdict, steps or RolloutSteps())
    if hold and step.action is Action.NONE:
        message = f"revision {hold.refused} is not asked for any more"
        return Step(Action.RELEASE, (hold.refused,), message=message)
    return step


def last_good(wanted: str, revisions: Sequence[Revision], weights: Mapping[str, int]) -> str | None:
    """The revision to go back to: of the others, the one with most of the traffic, because only a
    proven revision gets any; else the newest one that still serves.
    """
    others = {each.name: each for each in revisions if each.name != wanted}
    trusted = [n for n in weights if n in others and weights[n] and not others[n].unproven]
    if trusted:
        return max(trusted, key=lambda name: weights[name])
    return next((each.name for each in reversed(list(others.values())) if each.serving), None)


def _forward(
    wanted: str,
    strategy: str,
    revisions: Sequence[Revision],
    weights: Mapping[str, int],
    verdict: Verdict,
    steps: RolloutSteps,
) -> Step:
    found = _named(wanted, revisions)
    others = [revision for revision in revisions if revision.active and revision.name != wanted]
    # Recreate is for a quota without room for two: the new one boots only after the old one stops.
    if strategy == "Recreate" and others and (found is None or not found.active):
        return _deactivate(others, "the old revision stops before the new one boots")
    if found is None:
        return Step(Action.WRITE, (wanted,), message=f"revision {wanted} is to be created")
    if not found.active:
        return Step(Action.ACTIVATE, (wanted,), message=f"revision {wanted} exists and is inactive")
    # Health comes from the revision, never from the operation, which ends before replicas start.
    if not found.serving:
        return Step(Action.WAIT, (wanted,), message=_waiting(found))
    if not verdict.answered:
        return Step(Action.WAIT, (wanted,), message=verdict.message)
    if move := _move(wanted, strategy, revisions, weights, steps):
        return move
    if others:
        return _deactivate(others, "the old revision has no traffic any more")
    return Step(Action.NONE)


def _move(
    wanted: str,
    strategy: str,
    revisions: Sequence[Revision],
    weights: Mapping[str, int],
    steps: RolloutSteps,
) -> Step | None:
    """The next move of the traffic, or the pause before it; None once `wanted` has all of it."""
    target, due = {wanted: 100}, None
    old = max((n for n in weights if n != wanted), key=lambda name: weights[name], default="")
    there = _named(old, revisions)
    # A share of the traffic needs an old revision that still serves.
    if strategy == "BlueGreen" and there and there.active and weights[old]:
        due = steps.due(wanted, weights.get(wanted, 0))
        if due.weight < 100:
            target = {wanted: due.weight, old: 100 - due.weight}
    if dict(weights) == target and (due is None or due.noted):
        if due is None or not due.stays:
            return None
        return Step(Action.PAUSE, (wanted,), message=due.stays, asks=due.asks, left=due.left)
    message = f"revision {wanted} takes {target[wanted]} % of the traffic"
    return Step(Action.SHIFT, (wanted,), target, message)


def _backward(good: str, revisions: Sequence[Revision], weights: Mapping[str, int]) -> Step:
    """Move all traffic to `good`, then deactivate everything else, which may free the only GPU,
    then activate `good` again.
    """
    if dict(weights) != {good: 100}:
        return Step(Action.SHIFT, (good,), {good: 100}, f"revision {good} gets its traffic back")
    others = [revision for revision in revisions if revision.active and revision.name != good]
    if others:
        return _deactivate(others, "the refused revision stops")
    found = _named(good, revisions)
    if found and not found.active:
        return Step(Action.ACTIVATE, (good,), message=f"revision {good} served last")
    if found and not found.serving:
        return Step(Action.WAIT, (good,), message=_waiting(found))
    return Step(Action.NONE)


def _serves_meanwhile(good: str, revisions: Sequence[Revision], weights: Mapping[str, int]) -> bool:
    """Whether the refused revision has traffic and serves, as in a person's rollback. Then `good`
    may boot first, without a gap.
    """
    return any(weights.get(each.name) and each.serving for each in revisions if each.name != good)


def _deactivate(revisions: Sequence[Revision], message: str) -> Step:
    return Step(Action.DEACTIVATE, tuple(each.name for each in revisions), message=message)


def _named(name: str, revisions: Sequence[Revision]) -> Revision | None:
    return next((revision for revision in revisions if revision.name == name), None)


def _waiting(revision: Revision) -> str:
    reason = f": {revision.error}" if revision.error else ""
    return (
        f"revision {revision.name} is {revision.running or 'starting'}, health"
        f" {revision.health}{reason}"
    )
