"""The same counts under the names that dashboards and routers of this field already read:
OpenTelemetry's `gen_ai.server.*`, vLLM's own for adapters, and tokens by API key.

metrics.py feeds it. In Prometheus' spelling the dots of OpenTelemetry are underscores.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.request.traffic import Call
from serving.untrusted import UntrustedError, parse, read
from serving.versions import Version

# The buckets that the semantic conventions advise.
_DURATION = tuple(0.01 * 2**n for n in range(14))
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_WHAT = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}


class FieldMetrics:
    """Adapters are models to a client, so a model is a base or an adapter by its public name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "From a request's arrival to the end of its answer.",
            [*_WHAT, "error_type"],
            buckets=_DURATION,
            registry=registry,
        )
        self.first_token = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From a request's arrival to its first token.",
            _WHAT,
            buckets=_FIRST,
            registry=registry,
        )
        self.per_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Between the tokens after the first one.",
            _WHAT,
            buckets=_TOKEN,
            registry=registry,
        )
        self.key_tokens = Counter(
            "moorage_key_tokens", "Tokens by API key.", ["key", "kind"], registry=registry
        )
        self.key_requests = Counter(
            "moorage_key_requests",
            "Requests by API key and status.",
            ["key", "status"],
            registry=registry,
        )
        # vLLM's own names, for dashboards that were made for it.
        self.loaded = Gauge(
            "vllm:lora_adapter_loaded",
            "1 while an adapter's weights are in memory.",
            ["adapter_name", "level", "pinned", "rank"],
            registry=registry,
        )
        self.load_seconds = Gauge(
            "vllm:lora_adapter_load_seconds",
            "How long copying, checking and loading took.",
            ["adapter_name"],
            registry=registry,
        )
        self._ranks: dict[str, str] = {}

    def ended(self, call: Call) -> None:
        self.key_requests.labels(call.key, str(call.status)).inc()
        self.key_tokens.labels(call.key, "prompt").inc(call.prompt_tokens)
        self.key_tokens.labels(call.key, "completion").inc(call.completion_tokens)
        operation = OPERATIONS.get(call.route)
        if not call.model or operation is None:
            return
        what = (operation, "vllm", call.model)
        seconds = call.clock() - call.began
        error = str(call.status) if call.status >= 400 else "stream" if call.failed else ""
        self.duration.labels(*what, error).observe(seconds)
        if call.first_token is not None:
            self.first_token.labels(*what).observe(call.first_token)
            if call.completion_tokens > 1:
                each = (seconds - call.first_token) / (call.completion_tokens - 1)
                self.per_token.labels(*what).observe(each)

    def resident(self, versions: Iterable[Version]) -> None:
        """State what is in memory now: two versions of a name are both there while one replaces the
        other.
        """
        versions = list(versions)
        self._ranks = {version.key: self._rank(version) for version in versions}
        self.loaded.clear()
        self.load_seconds.clear()
        for version in versions:
            self.loaded.labels(version.name, "cpu", "false", self._ranks[version.key]).set(1)
            self.load_seconds.labels(version.name).set(version.load_seconds)

    def _rank(self, version: Version) -> str:
        if version.key in self._ranks:
            return self._ranks[version.key]
        try:
            config = parse(read(version.path / "adapter_config.json"))
        except (OSError, UntrustedError):
            return ""
        rank = config.get("r") if isinstance(config, dict) else None
        return str(rank) if isinstance(rank, int) else ""
