"""The gateway's metrics for Prometheus, computed from its usage and state at each scrape. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import fields

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from serving.gateway.routes import GatewayState
from serving.gateway.usage import Usage, Used

_WORDS = {
    "requests": "Requests that were answered or refused by a service.",
    "input_tokens": "Tokens of prompts.",
    "output_tokens": "Tokens that were made.",
    "errors": "Requests that no service could answer.",
    "wakeups": "Starts of a sleeping service.",
    "held_seconds": "Seconds that requests waited for a service that started.",
}


class _Collector:
    def __init__(self, usage: Usage, state: GatewayState, errors: list[float]) -> None:
        self._usage, self._state, self._errors = usage, state, errors

    def collect(self) -> Iterator[Metric]:
        for one in fields(Used):
            counter = CounterMetricFamily(
                f"moorage_gateway_{one.name}", _WORDS[one.name], labels=("key", "model")
            )
            for whose, used in self._usage:
                counter.add_metric(whose, getattr(used, one.name))
            yield counter
        held = GaugeMetricFamily(
            "moorage_gateway_held", "Requests that wait for the service.", labels=("service",)
        )
        awake = GaugeMetricFamily(
            "moorage_gateway_awake", "1 while the service is awake.", labels=("service",)
        )
        for service in self._state.services:
            held.add_metric((service.name,), service.held)
            awake.add_metric((service.name,), service.state == "ready")
        yield held
        yield awake
        # Quantiles need two values.
        if len(self._errors) > 1:
            cuts = statistics.quantiles(self._errors, n=20, method="inclusive")
            error = GaugeMetricFamily(
                "moorage_gateway_prediction_error",
                "By what share of its length a start was mispredicted.",
                labels=("quantile",),
            )
            error.add_metric(("0.5",), statistics.median(self._errors))
            error.add_metric(("0.95",), cuts[18])
            yield error


def exposition(usage: Usage, state: GatewayState, errors: list[float]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collector(usage, state, errors))
    return generate_latest(registry)
