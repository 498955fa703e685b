"""Times as people read them on a terminal: how long ago. JSON and pipes have the time itself."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def age(seconds: float) -> str:
    """`12s`, `3m`, `2h`, `5d`: the largest unit of which there are at least two, else the one
    below.
    """
    whole = max(0, int(seconds))
    for size, letter in _UNITS:
        if whole >= 2 * size:
            return f"{whole // size}{letter}"
    return f"{whole}s"


def age_of(stamp: str) -> str:
    """The age of a time as JSON writes it."""
    return age((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds())


def when(stamp: str | None, *, terminal: bool) -> str:
    """A time for a person at a terminal, or whole for a pipe; `-` for none."""
    if not stamp:
        return "-"
    return f"{age_of(stamp)} ago" if terminal else stamp
