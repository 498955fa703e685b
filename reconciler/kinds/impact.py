"""What a line of a plan does to a running service, and on which plane: ARM, the files on the share,
or what replicas have loaded. Pure; the plan's printer asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.kinds import Kind
from reconciler.engine.external import Impact, ObjectKey
from reconciler.engine.plan import PlanLine

_KINDS = {str(kind): kind for kind in Kind}


def plane_of(key: ObjectKey) -> str:
    kind = _KINDS.get(key.kind)
    if kind is None:
        return "documents"
    return "arm" if kind.arm else "files" if kind is Kind.FOLDER else "replicas"


def _of_creation(kind: Kind) -> Impact:
    if kind is Kind.APP:
        return Impact.NEW_REVISION
    return Impact.CONFIGURATION if kind.arm else Impact.HOT


def impact_of(line: PlanLine) -> Impact:
    """The gravest impact of the line."""
    return max(_impacts(line), key=lambda impact: impact.severity, default=Impact.NONE)


def _impacts(line: PlanLine) -> Iterator[Impact]:
    if line.action in ("no-op", "wait", "refuse"):
        return
    kind = _KINDS[line.key.kind]
    yield from (change.impact for change in line.changes)
    if line.action == "create":
        yield _of_creation(kind)
    if line.action == "release":
        yield Impact.CONFIGURATION
    if line.action in ("delete", "replace"):
        gone = Impact.DELETE if line.action == "delete" else Impact.REPLACE
        yield Impact.DATA_LOSS if kind.holds_data else gone
