"""Prometheus metrics of the loop and of its observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

STATES = {"True": 1.0, "False": 0.0, "Unknown": -1.0}


class DaemonMetrics:
    """Its own registry, so that two daemons in one process (tests) do not share metrics."""

    def __init__(self, calls: Mapping[str, int]) -> None:
        self._calls = calls
        self.registry = CollectorRegistry()
        self.passes = Counter(
            "moorage_reconcile_total",
            "Passes over a key.",
            ["kind", "phase"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "moorage_reconcile_seconds", "Duration of a pass.", ["kind"], registry=self.registry
        )
        self._requests = Gauge(
            "moorage_azure_requests",
            "Requests sent to Azure since the start.",
            ["method"],
            registry=self.registry,
        )
        self._conditions = Gauge(
            "moorage_condition",
            "1 true, 0 false, -1 unknown.",
            ["kind", "name", "condition"],
            registry=self.registry,
        )
        self._replicas = Gauge(
            "moorage_replicas",
            "Replicas by readiness.",
            ["service", "ready"],
            registry=self.registry,
        )

    def saw(self, kind: str, phase: str, seconds: float) -> None:
        self.passes.labels(kind, phase).inc()
        self.seconds.labels(kind).observe(seconds)

    def render(self, status: Mapping[str, Any]) -> bytes:
        """All metrics in the text format of Prometheus, with the present status."""
        for method, count in self._calls.items():
            self._requests.labels(method).set(count)
        self._conditions.clear()
        self._replicas.clear()
        for document in status["documents"]:
            for condition in document["conditions"]:
                labels = (document["kind"], document["name"], condition["type"])
                self._conditions.labels(*labels).set(STATES[condition["status"]])
            for ready in (True, False):
                rows = [row for row in document.get("replicas", ()) if row["ready"] is ready]
                if document["kind"] == "InferenceService":
                    self._replicas.labels(document["name"], str(ready).lower()).set(len(rows))
        return generate_latest(self.registry)
