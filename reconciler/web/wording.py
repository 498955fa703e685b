"""Filters of the templates: ages, short names, and the code spans of our own reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup, escape

from reconciler.web.axes import PlainCause, split_lines

_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_BELOW = re.compile(r"[^.]* (?:is|are) below(?:\.|$)")  # which only stand below a cause
_CODE = re.compile(r"`([^`]*)`")


def age(when: datetime | float | str | None, now: datetime) -> str:
    """How long ago that was, in one unit."""
    at = read_time(when)
    if at is None:
        return "-"
    return span((now - at).total_seconds())


def span(seconds: float | None) -> str:
    """A duration in one unit; a minute has seconds, because one waits for them."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def wait(seconds: float | None) -> str:
    """A time to the first token: people compare its hundredths."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def stamp(when: datetime | float | str | None) -> str:
    """A time as a machine and a person in another zone read it."""
    at = read_time(when)
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def clock(when: datetime | float | str | None) -> str:
    """The day and the time, for what happened while nobody looked."""
    at = read_time(when)
    if at is None:
        return "-"
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%b %H:%M} UTC"


def second(when: datetime) -> str:
    """A present instant: whether a page is of now shows in its seconds."""
    return when.astimezone(UTC).strftime("%H:%M:%S UTC")


def change(text: str) -> str:
    """A changed field; its arrow stays in one piece where the line wraps."""
    return text.replace(" -> ", " →\N{NO-BREAK SPACE}")


def brief(message: str, causes: Sequence[PlainCause] = ()) -> str:
    """A message without the lines of a log, which stand with the cause; of one of the `causes`,
    which stand above, only that.
    """
    text, lines = split_lines(message)
    told = (cause for cause in causes if cause.message and cause.message in text)
    if cause := next(told, None):
        return f"{cause.reason}, as above"
    return _BELOW.sub("", text) if lines else text


def prose(text: str) -> Markup:
    """Our own markdown of a reason: code spans stay, links lose their address."""
    return spans(_LINK.sub(r"\1", text))


def spans(text: str) -> Markup:
    """Text with code spans, whoever wrote it."""
    plain = escape(text)
    return Markup(_CODE.sub(r"<code>\1</code>", str(plain)))  # noqa: S704 - escaped above


def read_time(when: datetime | float | str | None) -> datetime | None:
    if isinstance(when, datetime):
        return when
    if isinstance(when, int | float):
        return datetime.fromtimestamp(when, UTC)
    try:
        at = datetime.fromisoformat(when) if when else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
