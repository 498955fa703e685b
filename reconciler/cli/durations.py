"""Options that take a length of time, which `api.durations` reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from reconciler.api.durations import seconds_of, spelt

DURATION = "DURATION"  # the metavar of every option that takes one


def duration(least: int = 1) -> Callable[[str | float], float]:
    """How typer reads an option: a length of time of at least that many seconds."""

    def read(value: str | float) -> float:
        if isinstance(value, int | float):  # the default
            return float(value)
        seconds = seconds_of(value)
        if seconds is None:
            raise typer.BadParameter(f"{value!r} is no length of time; write 90s, 10m, 2h or 1d.")
        if seconds < least:
            raise typer.BadParameter(f"{value} is too short; the shortest is {spelt(least)}.")
        return seconds

    return read


Timeout = Annotated[
    float,
    typer.Option(
        help="How long to wait, such as 90s, 10m or 2h; exit code 5 when it is over.",
        parser=duration(),
        metavar=DURATION,
    ),
]
