"""How long starts took against what was predicted, and the prediction corrected by that. Pure."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable

from serving.gateway.routes import LearnedStart, RoutedService, StartPrediction, StartSeen

KEPT = 30  # starts of a service
_RECENT = 7
_FACTORS = (0.05, 20.0)  # one absurd prediction does not make the next one absurd


class LearnedStarts:
    """By service. What is learned is a factor, so that it outlives a new model's prediction."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[StartSeen]] = {}

    def predict(self, service: RoutedService) -> StartPrediction:
        """The routes' prediction, corrected by the median of the newest starts."""
        factor = self._factor(service.name)
        published = service.predicted
        return StartPrediction(
            seconds=min(86_400.0, published.seconds * factor),
            stages={name: min(86_400.0, s * factor) for name, s in published.stages.items()},
        )

    def observe(self, service: RoutedService, seconds: float, told: float) -> None:
        seen = StartSeen(seconds=seconds, told=told, published=service.predicted.seconds)
        self._seen.setdefault(service.name, deque(maxlen=KEPT)).append(seen)

    def errors(self) -> list[float]:
        """Of every start the share by which it was mispredicted."""
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

    def _factor(self, name: str) -> float:
        ratios = [
            seen.seconds / seen.published
            for seen in list(self._seen.get(name, ()))[-_RECENT:]
            if seen.published
        ]
        return min(max(statistics.median(ratios), _FACTORS[0]), _FACTORS[1]) if ratios else 1.0
