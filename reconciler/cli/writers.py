"""Who wrote to an object of Azure and when, in lines for a person. `diff` prints them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from reconciler.arm.activity import KEPT
from reconciler.arm.callers import writer_of

if TYPE_CHECKING:
    from reconciler.arm.activity import Told, Written
    from reconciler.engine.external import LastWrite

MOST_WRITES = 3  # of others, told of one object
_LATE = timedelta(minutes=20)  # within which Azure shows a write in the log, as a rule
_APART = timedelta(minutes=2)  # of an operation's begin, which a resource tells, and its end


def writer_lines(told: Told | None, last: LastWrite | None) -> Iterator[str]:
    """Those whom the Activity Log knows; else the last writer, and why the log knows nobody."""
    writes = told.writes if told else ()
    for write in writes[:MOST_WRITES]:
        yield _changed(write)
    if (more := len(writes) - MOST_WRITES) > 0:
        yield f"and {more} {'time' if more == 1 else 'times'} before that"
    if writes:
        return
    own, at = moment(told.own_at if told else ""), moment(last.at if last else "")
    if own and (at is None or at <= own + _APART):
        yield f"last written by Moorage at {shown(own)}"
    elif last and at:
        by = writer_of(last.by, last.kind)
        same = told is not None and last.by.lower() in told.signed_in
        yield f"last written at {shown(at)} by {by}{SAME if same else ''}{_unknown(told, at)}"


def last_write_value(last: LastWrite | None) -> dict[str, str] | None:
    """The last write as JSON, see docs/status.md."""
    if last is None:
        return None
    return {"by": last.by, "at": last.at, "name": writer_of(last.by, last.kind)}


SAME = ", as which this command signs in too"


def _changed(write: Written) -> str:
    verb = "deleted" if write.operation.lower().endswith("/delete") else "changed"
    at = moment(write.at)
    when = f" at {shown(at)}" if at else ""
    return f"{verb}{when} by {write.name}{SAME if write.own else ''}"


def _unknown(told: Told | None, at: datetime) -> str:
    """Why the log, which could be read, has no entry of the last write."""
    if told is None or told.problem or told.asked is None:
        return ""
    if told.asked - at > KEPT:
        return "; the Activity Log keeps 90 days"
    return "; the Activity Log does not show it yet" if told.asked - at < _LATE else ""


def moment(stamp: str) -> datetime | None:
    """A time in Azure's spelling, which has up to seven digits and not always a zone."""
    try:
        found = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC)


def shown(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
