"""What is counted of each adapter and version, and that series go with the version they
speak of.
"""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from serving.request.traffic import Call
from serving.telemetry.metrics import Metrics
from serving.versions import Version


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry())


def call(version=None, *, model="red", status=200, tokens=3, failed=False):
    one = Call("default", clock=lambda: 1.0)
    one.model, one.status, one.prompt_tokens = model, status, 5
    if version:
        one.pin(version)
    one.produced(tokens)
    one.failed = failed
    one.end()
    return one


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"moorage_{name}", labels)


def test_calls_are_counted_for_the_version_that_answered(metrics):
    """Requests by status, errors, tokens and the time to the first one; the base model is a version
    of its own.
    """
    one, other = Version("red", "1" * 64, Path(), 1), Version("red", "2" * 64, Path(), 2)
    for ended in (
        call(one),
        call(one, status=500),
        call(other, failed=True),
        call(model="tiny"),
        call(model="", status=404),
    ):
        metrics.ended(ended)
    first, second, base = (
        {"adapter": name, "version": version}
        for name, version in (("red", "1" * 12), ("red", "2" * 12), ("tiny", "base"))
    )
    assert value(metrics, "requests_total", **first, status="200") == 1
    assert value(metrics, "requests_total", **first, status="500") == 1
    assert [value(metrics, "request_errors_total", **each) for each in (first, second, base)] == [
        1,
        1,
        0,
    ]
    assert value(metrics, "completion_tokens_total", **first) == 6
    assert value(metrics, "prompt_tokens_total", **first) == 10
    assert value(metrics, "first_token_seconds_count", **base) == 1


def test_what_leaves_the_memory_leaves_the_metrics(metrics):
    """A service that is retrained for months does not grow its metrics; what stays keeps its
    counts.
    """
    one, other = (
        Version("red", "1" * 64, Path(), 1, load_seconds=0.5),
        Version("red", "2" * 64, Path(), 2),
    )
    metrics.resident([one, other])
    metrics.ended(call(one))
    metrics.ended(call(other))
    first, second = {"adapter": "red", "version": "1" * 12}, {"adapter": "red", "version": "2" * 12}
    assert (
        value(metrics, "adapter_resident", **first),
        value(metrics, "adapter_load_seconds", **first),
    ) == (1, 0.5)
    metrics.resident([other])
    assert value(metrics, "adapter_resident", **first) is None
    assert value(metrics, "requests_total", **first, status="200") is None
    assert value(metrics, "first_token_seconds_count", **first) is None
    assert value(metrics, "requests_total", **second, status="200") == 1


def test_failed_loads_are_counted_by_reason(metrics):
    """One for each attempt."""
    metrics.failed("red", "NoSpace")
    metrics.failed("red", "NoSpace")
    assert value(metrics, "adapter_failures_total", adapter="red", reason="NoSpace") == 2


def test_the_fields_own_names_say_the_same(metrics, tmp_path):
    """OpenTelemetry's by model and operation, vLLM's by adapter and rank, and tokens by key."""
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    version = Version("red", "1" * 64, tmp_path, 1, load_seconds=0.5)
    metrics.resident([version])
    for status, failed in ((200, False), (500, False), (200, True)):
        one = call(version, status=status, failed=failed)
        one.route = "/v1/chat/completions"
        metrics.ended(one)
    metrics.ended(call(model="", status=400))

    def sample(name, **labels):
        return metrics.registry.get_sample_value(name, labels)

    chat = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "vllm",
        "gen_ai_request_model": "red",
    }
    for error in ("", "500", "stream"):
        assert sample("gen_ai_server_request_duration_seconds_count", **chat, error_type=error) == 1
    assert sample("gen_ai_server_time_to_first_token_seconds_count", **chat) == 3
    assert sample("gen_ai_server_time_per_output_token_seconds_count", **chat) == 3
    assert sample("moorage_key_tokens_total", key="default", kind="completion") == 12
    assert sample("moorage_key_requests_total", key="default", status="400") == 1
    here = {"adapter_name": "red", "level": "cpu", "pinned": "false", "rank": "8"}
    assert sample("vllm:lora_adapter_loaded", **here) == 1
    assert sample("vllm:lora_adapter_load_seconds", adapter_name="red") == 0.5
    metrics.resident([])
    assert sample("vllm:lora_adapter_loaded", **here) is None
