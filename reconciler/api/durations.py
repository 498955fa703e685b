"""Lengths of time as a person writes them: `90s`, `10m`, `2h`, `1d`; a number alone counts seconds.
Settings and the options of the command line read theirs here.
"""

from __future__ import annotations

import re

_FORM = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)", re.ASCII)
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds_of(text: str) -> float | None:
    """The seconds in `text`; None where it is no length of time."""
    match = _FORM.fullmatch(text.strip())
    return float(match["number"]) * UNITS[match["unit"] or "s"] if match else None


def spelt(seconds: float) -> str:
    """The largest unit of which there is a whole number: `1h`, `90s`."""
    for unit, size in UNITS.items():
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"
