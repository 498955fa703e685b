"""How long starts took compared with their predictions, and the corrected prediction. Pure."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from serving.catalogue import STAGES, Stage
from serving.gateway.routes import LearnedStart, RoutedService, StartPrediction, StartSeen

KEPT = 30  # starts of a service
RECENT = 7  # newest starts that correct the prediction
_SHORTEST = 0.05  # seconds; shorter stages are left out
_FACTORS = (0.05, 20.0)  # one absurd prediction does not make the next one absurd


class LearnedStarts:
    """The starts by service. For the whole start a factor is learned, so that it stays useful with
    another model's prediction; for each stage, its seconds.
    """

    def __init__(self) -> None:
        self._seen: dict[str, deque[StartSeen]] = {}

    def predict(self, service: RoutedService) -> StartPrediction:
        """The routes' prediction, corrected by the median of the newest starts; before any was
        seen here, what the daemon has learned.
        """
        seen = self._seen.get(service.name, ())
        if not seen and service.learned is not None:
            return service.learned
        return corrected(service.predicted, tuple(seen))

    def observe(
        self,
        service: RoutedService,
        seconds: float,
        told: float,
        stages: Mapping[Stage, float] | None = None,
    ) -> None:
        seen = StartSeen(
            seconds=seconds,
            told=told,
            published=service.predicted.seconds,
            stages=dict(stages or {}),
        )
        self._seen.setdefault(service.name, deque(maxlen=KEPT)).append(seen)

    def errors(self) -> list[float]:
        """The relative error of the prediction of each start."""
        return [
            abs(seen.seconds - seen.told) / seen.seconds
            for starts in self._seen.values()
            for seen in starts
            if seen.seconds
        ]

    def dump(self) -> tuple[LearnedStart, ...]:
        return tuple(
            LearnedStart(name=name, starts=tuple(starts)) for name, starts in self._seen.items()
        )

    def load(self, learned: Iterable[LearnedStart]) -> None:
        self._seen = {one.name: deque(one.starts, maxlen=KEPT) for one in learned}


def corrected(published: StartPrediction, starts: Sequence[StartSeen]) -> StartPrediction:
    """A prediction, corrected by the medians of the newest starts."""
    seconds = min(86_400.0, published.seconds * _factor(starts))
    stages = _stages(starts) or published.stages
    total = sum(stages.values())
    if not total:
        return StartPrediction(seconds=seconds)
    scale = seconds / total
    return StartPrediction(
        seconds=seconds,
        stages={name: min(86_400.0, took * scale) for name, took in stages.items()},
    )


def _stages(starts: Sequence[StartSeen]) -> dict[Stage, float]:
    """What each stage took in the newest starts whose replicas told: the medians."""
    told = [seen.stages for seen in starts if seen.stages][-RECENT:]
    found = {
        stage: statistics.median(stages[stage] for stages in told if stage in stages)
        for stage in STAGES
        if any(stage in stages for stages in told)
    }
    return {stage: seconds for stage, seconds in found.items() if seconds >= _SHORTEST}


def _factor(starts: Sequence[StartSeen]) -> float:
    ratios = [seen.seconds / seen.published for seen in starts[-RECENT:] if seen.published]
    return min(max(statistics.median(ratios), _FACTORS[0]), _FACTORS[1]) if ratios else 1.0
