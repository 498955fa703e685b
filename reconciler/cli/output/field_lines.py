"""The fields of a plan's or a comparison's line as a person reads them. A pipe gets a line each; on
a terminal no value is torn apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.engine.arguments import in_parts

if TYPE_CHECKING:
    from reconciler.engine.external import Change

INDENT = 6


def field_lines(change: Change, width: int | None) -> Iterator[str]:
    """`path: before -> after`; where that does not fit, the path and each value on a line of its
    own.
    """
    space = " " * INDENT
    for each in in_parts(change):
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
