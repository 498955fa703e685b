"""The fields of a plan's or a comparison's line as a person reads them. A pipe gets a line each; on
a terminal no value is torn apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.engine.arguments import by_flag

if TYPE_CHECKING:
    from reconciler.engine.external import Change

INDENT = 6


def field_lines(change: Change, width: int | None) -> Iterator[str]:
    """`path: before -> after`; where that does not fit, the path and each value on a line of its
    own.
    """
    space = " " * INDENT
    for each in _members(change):
        whole = f"{space}{each}"
        before, after = each.values
        if width is None or len(whole) <= width:
            yield whole
        elif len(space) + 5 + len(before) + len(after) + 2 <= width:
            yield f"{space}{each.path}:"
            yield f"{space}  {before} -> {after}"
        else:
            yield f"{space}{each.path}:"
            yield f"{space}  {before}"
            yield f"{space}  -> {after}"


def _members(change: Change) -> Iterator[Change]:
    """An entry that comes or goes, field by field; cut to one line it would hide its end. Of a
    container, also the command line flag by flag and the variables by name.
    """
    there = change.before if change.after is None else change.after
    if None not in (change.before, change.after) or not isinstance(there, Mapping) or not there:
        yield change
        return
    for name, value in there.items():
        if change.path.endswith(f"[{value}]") or value in (None, "", [], {}):
            continue  # the name of the entry, which the path has already; and what says nothing
        member = _alone(change, f"{change.path}.{name}", value)
        if name != "env":
            yield from by_flag(member)
            continue
        for entry in value:
            yield from _members(_alone(change, f"{member.path}[{entry.get('name')}]", entry))


def _alone(change: Change, path: str, value: Any) -> Change:
    """The part of an entry that comes or goes with it."""
    comes = change.after is not None
    before, after = (None, value) if comes else (value, None)
    return replace(change, path=path, before=before, after=after)
