"""`rollout` in a document: how a new revision takes over from the old one. `service` holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from reconciler.api.adapter_fields import DURATION, EvaluationFile, seconds
from reconciler.api.fields import AnyCaseEnum, Fault, Int, Items, Model, bounded, refuse_any

UNTIL_PROMOTED = "UntilPromoted"


class Strategy(AnyCaseEnum):
    """How a new revision replaces the old one."""

    AUTO = "Auto"
    SURGE = "Surge"
    RECREATE = "Recreate"
    BLUE_GREEN = "BlueGreen"


class Smoke(Model):
    path: Annotated[
        str,
        bounded(
            lambda value: re.fullmatch(r"/[!-~]{0,1023}", value, re.ASCII) is not None,
            "{!r} is no path of a request",
            "begin it with /, such as /health, and encode what is not ASCII",
        ),
    ] = "/"
    """The path of the smoke request."""
    expect_status: Annotated[Int, Field(ge=100, le=599)] | None = None
    """The status that the answer must have; anything below 500 when left out."""


def _is_pause(value: str) -> bool:
    return value.lower() == UNTIL_PROMOTED.lower() or DURATION.fullmatch(value) is not None


class TrafficStep(Model):
    weight: Annotated[Int, Field(ge=1, le=99)]
    """The percentage of the requests that the new revision gets in this step."""
    pause: (
        Annotated[
            str,
            bounded(
                _is_pause,
                "{!r} is no pause",
                f"write a time such as 90s, 30m or 2h, or {UNTIL_PROMOTED}",
            ),
        ]
        | None
    ) = None
    """The shortest time that the step lasts, such as 90s or 30m. With UntilPromoted, the step lasts
    until `moorage promote`.
    """
    evaluation: EvaluationFile | None = None
    """A file of prompts, each with a text that the new revision's answer must contain before the
    next step; a revision that fails is rolled back.
    """

    def seconds(self) -> int | None:
        """The length of the pause; None where a person ends it."""
        if self.pause is None:
            return 0
        return None if self.pause.lower() == UNTIL_PROMOTED.lower() else seconds(self.pause)


class Rollout(Model):
    strategy: Strategy = Strategy.AUTO
    """Surge boots the new revision beside the old one, which needs a second GPU for a while.
    Recreate stops the old revision first, so that no replica serves for a while. Auto takes
    Surge if a GPU is free, else Recreate. BlueGreen is Surge in steps.
    """
    smoke: Smoke = Smoke()
    """The request that a new revision must answer before it takes traffic."""
    steps: Annotated[Items[TrafficStep], Field(max_length=20)] = ()
    """With BlueGreen, which is the default then: the steps in which the traffic moves; all of it
    moves after the last one. When left out, 10 and 50 percent without a pause.
    """

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        refuse_any(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.steps and self.strategy not in (Strategy.AUTO, Strategy.BLUE_GREEN):
            yield Fault(
                f"{self.strategy.value} moves all traffic at once, so it has no steps",
                "write strategy: BlueGreen, or leave it out",
                ("strategy",),
            )
        for index, (before, after) in enumerate(zip(self.steps, self.steps[1:], strict=False), 1):
            if after.weight <= before.weight:
                yield Fault(
                    f"the weight {after.weight} is not more than that of the step before it,"
                    f" {before.weight}",
                    "each step has a larger weight",
                    ("steps", index, "weight"),
                )
