"""The fields of a plan's or a comparison's line as a person reads them. A pipe gets a line each; on
a terminal no value is torn apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

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
    """An entry that comes or goes, field by field; cut to one line it would hide its end."""
    there = change.before if change.after is None else change.after
    if None not in (change.before, change.after) or not isinstance(there, Mapping) or not there:
        yield change
        return
    for name, value in there.items():
        if change.path.endswith(f"[{value}]") or value in (None, "", [], {}):
            continue  # the name of the entry, which the path has already; and what says nothing
        comes = change.after is not None
        before, after = (None, value) if comes else (value, None)
        yield replace(change, path=f"{change.path}.{name}", before=before, after=after)
