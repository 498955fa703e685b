"""What a line of a plan does to what runs, and in which of three planes: ARM, the files on the
share, or what replicas have loaded. Pure; the plan's printer asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.kinds import Kind
from reconciler.engine.external import Impact, ObjectKey
from reconciler.engine.plan import PlanLine

_KINDS = {str(kind): kind for kind in Kind}
_PLANES = {Kind.FOLDER: "files", Kind.CATALOGUE: "replicas"}
_MADE = {Kind.FOLDER: Impact.HOT, Kind.CATALOGUE: Impact.HOT, Kind.APP: Impact.NEW_REVISION}


def plane_of(key: ObjectKey) -> str:
    kind = _KINDS.get(key.kind)
    return _PLANES.get(kind, "arm") if kind else "documents"


def impact_of(line: PlanLine) -> Impact:
    """The gravest of what the line does."""
    return max(_impacts(line), key=lambda impact: impact.severity, default=Impact.NONE)


def _impacts(line: PlanLine) -> Iterator[Impact]:
    if line.action in ("no-op", "wait", "refuse"):
        return
    kind = _KINDS[line.key.kind]
    yield from (change.impact for change in line.changes)
    if line.action == "create":
        yield _MADE.get(kind, Impact.CONFIGURATION)
    if line.action == "release":
        yield Impact.CONFIGURATION
    if line.action in ("delete", "replace"):
        gone = Impact.DELETE if line.action == "delete" else Impact.REPLACE
        yield Impact.DATA_LOSS if kind.holds_data else gone
