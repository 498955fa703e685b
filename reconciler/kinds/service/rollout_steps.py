"""Where a rollout in steps stands, and when the next step is due. Pure: the position is a tag of
the container app, written together with the traffic, so that it outlives the daemon.

`rollout` asks which step is due, `container_app` writes the tag, `evaluation` asks the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from reconciler.api import tags
from reconciler.api.resources import RolloutStep

PLAIN_STEPS = (RolloutStep(10), RolloutStep(50))  # of BlueGreen where the document names none
SLOW = 15.0  # most seconds between two looks at a paused rollout


@dataclass(frozen=True)
class StepReached:
    """The step that `revision` of a container app has reached, and since when."""

    revision: str
    weight: int
    since: datetime

    @classmethod
    def on(cls, found: Mapping[str, Any]) -> Self | None:
        """The step in the tag of the app `found`; None if the tag is missing or unreadable."""
        suffix, _, rest = (tags.tag(found, tags.STEP) or "").partition(" ")
        weight, _, since = rest.partition(" ")
        try:
            at = datetime.fromisoformat(since)
            return cls(f"{found['name']}--{suffix}", int(weight), at.replace(tzinfo=UTC))
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """The tag's value."""
        suffix = self.revision.rpartition("--")[2]
        return f"{suffix} {self.weight} {self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


@dataclass(frozen=True)
class DueStep:
    """The `weight` that the new revision is to have now. `stays` says why it then stays there;
    empty if it goes on. `asks` says that a person decides, `left` is the seconds until the next
    look. `noted` is false if the weight must be written again to note when the step began.
    """

    weight: int
    stays: str = ""
    asks: bool = False
    left: float = SLOW
    noted: bool = True


@dataclass(frozen=True)
class RolloutSteps:
    """The steps of one rollout; without any, `PLAIN_STEPS`. `now` is Azure's time, `promoted` the
    weight up to which a person lets it go on, `unmet` what the evaluation of the present step still
    lacks.
    """

    steps: tuple[RolloutStep, ...] = ()
    position: StepReached | None = None
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    promoted: int = 0
    unmet: str = ""

    @property
    def all_steps(self) -> tuple[RolloutStep, ...]:
        return self.steps or PLAIN_STEPS

    def due(self, wanted: str, weight: int) -> DueStep:
        """What is due for revision `wanted`, which has `weight` percent of the traffic."""
        if self.promoted >= 100:
            return DueStep(100)
        begun = self.position if self.position and self.position.revision == wanted else None
        at = begun.weight if begun else weight
        if at and at != weight:
            return DueStep(at)  # somebody else moved the traffic
        step = next((each for each in self.all_steps if each.weight == at), None)
        return (step and self._held_at(step, wanted, begun)) or DueStep(self._after(at))

    def _held_at(self, step: RolloutStep, wanted: str, begun: StepReached | None) -> DueStep | None:
        """Why the rollout stays at a step; None if it goes on. A person's promotion ends the pause
        but does not replace the evaluation.
        """
        place = f"step {self.all_steps.index(step) + 1} of {len(self.all_steps)}"
        told = f"revision {wanted} has {step.weight} % of the traffic ({place})"
        promoted = self.promoted >= step.weight
        if step.pause and begun is None and not promoted:
            return DueStep(step.weight, noted=False)
        if self.unmet:
            return DueStep(step.weight, f"{told}; {self.unmet}", left=0.0)
        if promoted:
            return None
        if step.pause is None:
            return DueStep(step.weight, f"{told} until `moorage promote`", asks=True)
        end = begun.since + timedelta(seconds=step.pause) if begun else self.now
        if (left := (end - self.now).total_seconds()) > 0:
            return DueStep(step.weight, f"{told} until {end:%H:%M:%S} UTC", left=min(left, SLOW))
        return None

    def _after(self, weight: int) -> int:
        return next((each.weight for each in self.all_steps if each.weight > weight), 100)


def noted(
    existing: Mapping[str, str], weights: Mapping[str, int], wanted: str, now: datetime
) -> dict[str, str | None]:
    """The tags to write with the traffic `weights`: with the position of `wanted` while it shares
    the traffic, without it afterwards; empty if nothing changes.
    """
    if len(weights) > 1:
        return {
            **tags.merged(existing, {tags.STEP: StepReached(wanted, weights[wanted], now).text})
        }
    if not any(name.lower() == tags.STEP for name in existing):
        return {}
    return {name: None if name.lower() == tags.STEP else value for name, value in existing.items()}
