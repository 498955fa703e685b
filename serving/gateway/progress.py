"""How far a start has come and how long it still takes, by the prediction and by what the replicas
report. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.catalogue import STAGE_WORDS, STAGES, ReplicaReport, Stage
from serving.gateway.routes import StartPrediction

# What a stage is still said to take when it takes longer than predicted: at least this part of its
# length, else this part of the time that it is late, at most its length. A number that does not
# change would tell the caller nothing.
_OVERTIME, _LATE = 0.1, 0.5


@dataclass(frozen=True)
class StartProgress:
    """`number` of `count` stages; `left` seconds are a guess, at least one."""

    stage: Stage | None
    number: int
    count: int
    left: float

    def text(self, service: str) -> str:
        where = f"{self.number} of {self.count} {STAGE_WORDS[self.stage]}, " if self.stage else ""
        return f"{service} is starting: {where}about {self.left:.0f} s left"


def progress(
    prediction: StartPrediction,
    elapsed: float,
    report: ReplicaReport | None,
    running: float | None = None,
) -> StartProgress:
    """The stage that the clock says, as far as the replica's report allows it. `elapsed` seconds
    have passed since the wake, `running` since the replica's own start, which says more.
    """
    if report is not None and report.stage is not None and running is not None:
        return _reported(prediction, report, report.stage, running)
    if running is not None:
        before = STAGES[: STAGES.index("runtime")]
        elapsed = running + sum(prediction.stages.get(stage, 0.0) for stage in before)
    stages = [(stage, prediction.stages[stage]) for stage in STAGES if prediction.stages.get(stage)]
    if not stages:
        return StartProgress(None, 1, 1, max(1.0, _rest(prediction.seconds, elapsed)))
    # The stages are scaled so that their sum is the predicted total.
    scale = prediction.seconds / sum(seconds for _, seconds in stages)
    ends, total = [], 0.0
    for _, seconds in stages:
        total += seconds * scale
        ends.append(total)
    clock = next((i for i, end in enumerate(ends) if elapsed < end), len(stages) - 1)
    first, last = _bounds([stage for stage, _ in stages], report)
    at = min(max(clock, first), last)
    begins = ends[at - 1] if at else 0.0
    length, here = ends[at] - begins, max(0.0, elapsed - begins)
    if report is not None and report.model_loaded:
        here = min(here, length)  # earlier stages were late, and say nothing about the short rest
    left = total - ends[at] + _rest(length, here)
    return StartProgress(stages[at][0], at + 1, len(stages), max(1.0, left))


def _reported(
    prediction: StartPrediction, report: ReplicaReport, stage: Stage, running: float
) -> StartProgress:
    """The stage that the replica reports, with its predicted length less the time spent in it."""
    known = report.stages.keys() | {stage}
    stages = [each for each in STAGES if each in known or prediction.stages.get(each)]
    total = sum(prediction.stages.values())
    scale = prediction.seconds / total if total else 0.0
    at = stages.index(stage)
    later = scale * sum(prediction.stages.get(each, 0.0) for each in stages[at + 1 :])
    length = scale * prediction.stages.get(stage, 0.0)
    here = max(0.0, running - sum(report.stages.values()))
    rest = _rest(length, here)
    return StartProgress(stage, at + 1, len(stages), max(1.0, later + rest))


def _rest(length: float, elapsed: float) -> float:
    """What is left of a stage of this predicted length."""
    late = elapsed - length
    return -late if late < 0 else min(length, max(_OVERTIME * length, _LATE * late))


def _bounds(stages: list[Stage], report: ReplicaReport | None) -> tuple[int, int]:
    """The first and the last stage that the report allows: there is none before the runtime writes
    it, and it says when the model is loaded.
    """
    runtime, adapters = STAGES.index("runtime"), STAGES.index("adapters")
    order = [STAGES.index(stage) for stage in stages]
    if report is None:
        possible = [i for i, place in enumerate(order) if place < runtime]
    elif not report.model_loaded:
        possible = [i for i, place in enumerate(order) if runtime <= place < adapters]
    else:
        possible = [i for i, place in enumerate(order) if place >= adapters]
    return (possible[0], possible[-1]) if possible else (0, len(stages) - 1)
