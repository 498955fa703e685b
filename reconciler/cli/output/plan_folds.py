"""Folds lines of a plan that say the same of many objects: that they belong to another set of
documents. `plan_view` prints it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.engine.plan import PlanLine

_OWNER = re.compile(r"OwnedByAnother: .{1,300}? belongs to the set of documents ([^\s;]+)")


def fold(lines: Sequence[PlanLine]) -> tuple[dict[str, list[PlanLine]], list[PlanLine]]:
    """The lines that wait for the same other set, by that set where there are several; and the
    rest.
    """
    groups: dict[str, list[PlanLine]] = {}
    for line in lines:
        match = _OWNER.match(line.problem)
        if match and not line.changes:
            groups.setdefault(match[1], []).append(line)
    several = {owner: found for owner, found in groups.items() if len(found) > 1}
    folded = {line.key for found in several.values() for line in found}
    return several, [line for line in lines if line.key not in folded]


def summarize(owner: str, lines: Sequence[PlanLine]) -> str:
    """The sentence for all of them."""
    return (
        f"OwnedByAnother: {len(lines)} objects belong to the set of documents {owner}; nothing is"
        f" written to them. Choose other names, or take them over with `moorage take-over {owner}`"
    )
