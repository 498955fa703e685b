"""Prometheus metrics of each adapter and version, in the registry that vLLM's own `/metrics` shows.

vLLM counts for the whole engine; which version answered, how often and how fast is known only here.
`version` is the digest's first 12 letters, or `base`. replica.py feeds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from serving.request.traffic import Call
from serving.telemetry.field_metrics import FieldMetrics
from serving.versions import Version

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_WHOSE = ("adapter", "version")


@dataclass
class Metrics:
    """Series of a version stay while it is in memory, so that their number does not grow with every
    retraining.
    """

    registry: CollectorRegistry = REGISTRY
    _resident: set[tuple[str, str]] = field(default_factory=set)
    _statuses: set[tuple[str, str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        of = self.registry
        self.requests = Counter(
            "moorage_requests",
            "Requests by the status of their answer.",
            [*_WHOSE, "status"],
            registry=of,
        )
        self.errors = Counter(
            "moorage_request_errors",
            "Requests that the server failed, after a 200 too.",
            _WHOSE,
            registry=of,
        )
        self.prompt_tokens = Counter(
            "moorage_prompt_tokens", "Tokens of prompts.", _WHOSE, registry=of
        )
        self.completion_tokens = Counter(
            "moorage_completion_tokens", "Tokens generated.", _WHOSE, registry=of
        )
        self.first_token = Histogram(
            "moorage_first_token_seconds",
            "Until the first token.",
            _WHOSE,
            buckets=SECONDS,
            registry=of,
        )
        self.load_seconds = Gauge(
            "moorage_adapter_load_seconds",
            "How long copying, checking and loading took.",
            _WHOSE,
            registry=of,
        )
        self.resident_now = Gauge(
            "moorage_adapter_resident",
            "1 while the version is in the engine's memory.",
            _WHOSE,
            registry=of,
        )
        self.failures = Counter(
            "moorage_adapter_failures",
            "Attempts to load an adapter that failed.",
            ["adapter", "reason"],
            registry=of,
        )
        self.field = FieldMetrics(of)
        self._of_versions = (
            self.errors,
            self.prompt_tokens,
            self.completion_tokens,
            self.first_token,
        )

    def ended(self, call: Call) -> None:
        """Count a call that has ended. A call that vLLM refused before it chose a model is not
        counted for any.
        """
        self.field.ended(call)
        if not call.model:
            return
        whose = (call.model, call.version.digest[:12] if call.version else "base")
        self._statuses.add((*whose, str(call.status)))
        self.requests.labels(*whose, str(call.status)).inc()
        self.errors.labels(*whose).inc(call.failed)
        self.prompt_tokens.labels(*whose).inc(call.prompt_tokens)
        self.completion_tokens.labels(*whose).inc(call.completion_tokens)
        if call.first_token is not None:
            self.first_token.labels(*whose).observe(call.first_token)

    def failed(self, adapter: str, reason: str) -> None:
        self.failures.labels(adapter, reason).inc()

    def resident(self, versions: Iterable[Version]) -> None:
        """Show what is in memory now, and remove the series of what has left it."""
        versions = list(versions)
        self.field.resident(versions)
        now = {(version.name, version.digest[:12]): version for version in versions}
        for whose, version in now.items():
            self.resident_now.labels(*whose).set(1)
            self.load_seconds.labels(*whose).set(version.load_seconds)
        for whose in self._resident - now.keys():
            for metric in (*self._of_versions, self.resident_now, self.load_seconds):
                _drop(metric, whose)
            for labels in [labels for labels in self._statuses if labels[:2] == whose]:
                self._statuses.discard(labels)
                _drop(self.requests, labels)
        self._resident = set(now)


def _drop(metric: Counter | Gauge | Histogram, labels: Iterable[str]) -> None:
    with suppress(KeyError):  # no request has used that version
        metric.remove(*labels)
