"""An adapter in a document: its versions, their evaluation, and the canary that tries a new version
on part of the requests.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator

from reconciler.api import names
from reconciler.api.durations import UNITS
from reconciler.api.fields import Bool, Fault, Int, Model, bounded, refuse_any
from reconciler.api.source import AdapterText

DURATION = re.compile(r"(?P<number>[1-9]\d{0,5})(?P<unit>[smhd])", re.ASCII)

Duration = Annotated[
    str,
    bounded(
        lambda value: DURATION.fullmatch(value) is not None,
        "{!r} is no length of time",
        "write 90s, 30m, 2h or 1d",
    ),
    Field(
        json_schema_extra={
            "pattern": f"^{DURATION.pattern.replace('?P<number>', '').replace('?P<unit>', '')}$"
        }
    ),
]
EvaluationFile = Annotated[
    str,
    bounded(
        lambda value: "://" not in value and value.lower().endswith((".jsonl", ".yaml", ".yml")),
        "{!r} is no evaluation file",
        "name a local file that ends in .jsonl, .yaml or .yml",
    ),
]


def seconds(duration: str) -> int:
    """The length of a `Duration`."""
    match = DURATION.fullmatch(duration)
    assert match
    return int(match["number"]) * UNITS[match["unit"]]


class Canary(Model):
    source: AdapterText
    """The version to try, in the same forms."""
    weight: Annotated[Int, Field(ge=0, le=100)] = 10
    """How many of a hundred requests the canary answers, on every replica. Requests with the same
    `user` get the same version.
    """
    evaluation: EvaluationFile | None = None
    """The evaluation that the canary must pass before it gets requests; the adapter's own file when
    left out.
    """
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The fraction of the canary's requests that may fail on the server. Above it, Moorage rolls
    the canary back.
    """
    promote_after: Duration | None = None
    """How long the canary must serve without a fault before it is promoted, such as 30m. When left
    out, only `moorage adapter promote` promotes it.
    """


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


class Adapter(Model):
    name: Annotated[str, names.MODEL]
    """What clients send as `model`."""
    source: AdapterText
    """./folder, share://path, share://path/** (the newest below it) or hf://org/name@revision, as
    peft saves an adapter.
    """
    required: Bool = False
    """Whether a new replica must load this adapter to be ready. An adapter that has never loaded in
    this service delays no replica; it only makes `AdaptersLoaded` False.
    """
    evaluation: EvaluationFile | None = None
    """A file of prompts, each with a text that its answer must contain; a version that fails is not
    served.
    """
    canary: Canary | None = None
    """Another version under the same name, which answers part of the requests."""

    shutdown_date: (
        Annotated[str, bounded(_is_day, "{!r} is no day", "write it as 2027-01-31")] | None
    ) = None
    """The last day on which clients should rely on the adapter. `/v1/models` shows it as
    `shutdown_date`. Moorage serves the adapter until the document no longer names it.
    """

    @model_validator(mode="after")
    def _another(self) -> Self:
        if self.canary and self.canary.source == self.source:
            refuse_any(
                [
                    Fault(
                        "the canary is the version that serves already",
                        "name another folder",
                        ("canary", "source"),
                    )
                ]
            )
        return self
