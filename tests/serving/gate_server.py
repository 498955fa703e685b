"""The gate on a port, in the image's Python and under the server that vLLM runs it with, in front of
an engine that answers after so many milliseconds instead of vLLM. Starts in a second.

    python -m tests.serving.gate_server '{"port": 8000, "keys": {...}, "limits": {...}}'
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.catalogue import ApiKey, Limits
from serving.gate import Door, Gate
from serving.request import connections
from serving.request.keys import Keys


def main() -> None:
    options = json.loads(sys.argv[1])
    app = Starlette(routes=[Route("/v1/chat/completions", _chat, methods=["POST"])])
    app.add_middleware(Gate)
    limits = Limits.model_validate(options.get("limits", {}))
    keys = Keys()
    keys.replace([_key(*item) for item in options["keys"].items()], limits)
    app.state.pause = options.get("milliseconds", 0) / 1000
    app.state.moorage = Door(
        ready=lambda: (True, ""), alive=lambda: True, open=True, keys=keys, limits=limits
    )
    _trace()
    connections.SECONDS = options.get("head_seconds", connections.SECONDS)
    connections.install()
    config = uvicorn.Config(
        app,
        host=options.get("host", "0.0.0.0"),
        port=options["port"],
        log_level="warning",
        access_log=False,
    )
    uvloop.run(uvicorn.Server(config).serve())


def _trace() -> None:
    """The official SDK as vLLM sets it up."""
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if endpoint:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        trace.set_tracer_provider(provider)


async def _chat(request: Request) -> Response:
    """An answer of `max_tokens` words, each after its pause."""
    asked = await request.json()
    words, pause = asked.get("max_tokens", 1), request.app.state.pause
    if asked.get("stream"):
        return StreamingResponse(_words(words, pause), media_type="text/event-stream")
    await asyncio.sleep(words * pause)
    message = {"role": "assistant", "content": "word " * words}
    headers = {"x-seen-traceparent": request.headers.get("traceparent", "")}
    body = {"object": "chat.completion", "choices": [{"message": message}]}
    return JSONResponse(body, headers=headers)


async def _words(words: int, pause: float) -> Any:
    for _ in range(words):
        await asyncio.sleep(pause)
        yield b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n'
    yield b"data: [DONE]\n\n"


def _key(name: str, options: dict[str, Any]) -> ApiKey:
    text = options.pop("text", name)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return ApiKey.model_validate({"name": name, "sha256": sha256, **options})


if __name__ == "__main__":
    main()
