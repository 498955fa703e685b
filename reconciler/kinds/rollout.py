"""What a rollout does next, decided from what is there. Pure and level-triggered: it holds no state
between calls, so a daemon that dies in the middle goes on where Azure stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from reconciler.api.outputs import Revision

BLUE_GREEN_STEPS = (10, 50, 100)


class Action(Enum):
    """Each value is one write, but for NONE and WAIT."""

    NONE = "none"
    WAIT = "wait"
    WRITE = "write the template"
    ACTIVATE = "activate"
    SHIFT = "move the traffic"
    DEACTIVATE = "deactivate"


@dataclass(frozen=True)
class Step:
    """The next write; `revisions` are its objects, `weights` the traffic to set when it
    is a SHIFT.
    """

    action: Action
    revisions: tuple[str, ...] = ()
    weights: Mapping[str, int] | None = None
    message: str = ""


def next_step(
    wanted: str, strategy: str, revisions: Sequence[Revision], weights: Mapping[str, int]
) -> Step:
    """The step from `revisions` and the traffic `weights` (revision name -> 0..100) toward `wanted`
    alone serving.

    `strategy` is Surge, Recreate or BlueGreen (Auto is resolved by the caller, who knows the
    quota). A failed new revision leaves the old one serving: nothing is taken from it before the
    new one is healthy, except by Recreate.
    """
    found = next((revision for revision in revisions if revision.name == wanted), None)
    others = [revision for revision in revisions if revision.active and revision.name != wanted]
    if strategy == "Recreate" and others and (found is None or not found.active):
        return Step(
            Action.DEACTIVATE,
            tuple(r.name for r in others),
            message="the old revision stops before the new one boots",
        )
    if found is None:
        return Step(Action.WRITE, (wanted,), message=f"revision {wanted} is to be created")
    if not found.active:
        return Step(Action.ACTIVATE, (wanted,), message=f"revision {wanted} exists and is inactive")
    if not found.serving:
        return Step(Action.WAIT, (wanted,), message=_waiting(found))
    target = _weights(wanted, strategy, weights)
    if dict(weights) != target:
        return Step(
            Action.SHIFT,
            (wanted,),
            target,
            f"revision {wanted} takes {target[wanted]} % of the traffic",
        )
    if others and target == {wanted: 100}:
        return Step(
            Action.DEACTIVATE,
            tuple(r.name for r in others),
            message="the old revision has no traffic any more",
        )
    return Step(Action.NONE)


def _weights(wanted: str, strategy: str, now: Mapping[str, int]) -> dict[str, int]:
    if strategy != "BlueGreen" or not any(weight for name, weight in now.items() if name != wanted):
        return {wanted: 100}
    share = next((step for step in BLUE_GREEN_STEPS if step > now.get(wanted, 0)), 100)
    if share == 100:
        return {wanted: 100}
    old = max((name for name in now if name != wanted), key=lambda name: now[name])
    return {wanted: share, old: 100 - share}


def _waiting(revision: Revision) -> str:
    reason = f": {revision.error}" if revision.error else ""
    return (
        f"revision {revision.name} is {revision.running or 'starting'}, health"
        f" {revision.health}{reason}"
    )
