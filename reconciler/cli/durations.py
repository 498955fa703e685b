"""Lengths of time on a command line, written as in documents: `90s`, `10m`, `2h`, `1d`; a number
alone counts seconds. Options take theirs from here, and help shows defaults with `spelt`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

import typer

DURATION = "DURATION"  # the metavar of every option that takes one
_FORM = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)")
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds_of(text: str) -> float | None:
    """The seconds in `text`; None where it is no length of time."""
    match = _FORM.fullmatch(text.strip())
    return float(match["number"]) * _UNITS[match["unit"] or "s"] if match else None


def spelt(seconds: float) -> str:
    """The largest unit of which there is a whole number: `1h`, `90s`."""
    for unit, size in _UNITS.items():
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


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
