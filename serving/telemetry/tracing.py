"""A span for each request with a valid key, if OpenTelemetry's own variables name a collector. vLLM
sets the official SDK up (arguments.py tells it to) and makes its own span below this one.

exchange.py opens a span; opentelemetry, which vLLM's image ships, is imported only then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from serving.request.traffic import Call

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
NAME = "moorage.request"
_PASSED = (b"traceparent", b"tracestate")


@contextmanager
def span(scope: MutableMapping[str, Any], call: Call) -> Iterator[None]:
    """The span of a call: a child of the client's, and the parent of vLLM's. It holds no word of
    what was asked or answered.
    """
    # Without a collector nothing is imported, because every replica would pay for it.
    if not any(os.environ.get(name) for name in ENDPOINTS):
        yield
        return
    from opentelemetry import propagate, trace

    headers = scope["headers"]
    given = {name.decode(): value.decode("latin-1") for name, value in headers if name in _PASSED}
    one = trace.get_tracer("moorage").start_span(
        NAME, propagate.extract(given), kind=trace.SpanKind.SERVER
    )
    passed: dict[str, str] = {}
    propagate.inject(passed, trace.set_span_in_context(one))
    scope["headers"] = [
        *(pair for pair in headers if pair[0] not in _PASSED),
        *((name.encode(), value.encode()) for name, value in passed.items()),
    ]
    try:
        yield
    finally:
        one.set_attributes(_attributes(call))
        if call.failed or call.status >= 500:
            one.set_status(trace.StatusCode.ERROR)
        one.end()


def _attributes(call: Call) -> dict[str, str | int | float]:
    """The attributes by OpenTelemetry's semantic conventions, and our own where the conventions
    have none.
    """
    found: dict[str, str | int | float | None] = {
        "http.route": call.route,
        "http.response.status_code": call.status or None,
        "gen_ai.request.model": call.model or None,
        "gen_ai.usage.input_tokens": call.prompt_tokens or None,
        "gen_ai.usage.output_tokens": call.completion_tokens or None,
        "gen_ai.server.time_to_first_token": call.first_token,
        "moorage.request.id": call.id,
        "moorage.api_key.name": call.key,
        "moorage.adapter.version": call.version.digest[:12] if call.version else None,
    }
    return {name: value for name, value in found.items() if value is not None}
