"""Traces of the gate, made with the official SDK of the image and sent to a collector."""

import asyncio
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import pytest

from tests.ports import free_port
from tests.serving.replica_share import ROOT

PYTHON = ROOT / ".venv/images/vllm/bin/python"
TRACE, PARENT = "ab" * 16, "cd" * 8
CHAT = {"model": "m", "messages": [{"role": "user", "content": "a secret"}], "max_tokens": 1}


class Collector(BaseHTTPRequestHandler):
    """Keeps what the SDK posts."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.received = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def _asked(url, **headers):
    headers |= {"authorization": "Bearer good"}
    async with aiohttp.ClientSession(url, headers=headers) as http:
        for _ in range(300):
            try:
                async with http.post("/v1/chat/completions", json=CHAT) as answer:
                    return answer.status, answer.headers.get("x-seen-traceparent", "")
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
    raise AssertionError("the gate does not answer")


async def test_a_request_is_a_span_between_the_clients_and_the_engines(collector):
    """The client's trace goes on, the engine's span is below ours, and no word of the prompt is in
    it.
    """
    port = free_port()
    options = json.dumps({"port": port, "host": "127.0.0.1", "keys": {"good": {}}})
    command = [PYTHON, "-m", "tests.serving.gate_server", options]
    endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    more = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | more)  # noqa: ASYNC220
    try:
        traceparent = f"00-{TRACE}-{PARENT}-01"
        status, seen = await _asked(f"http://127.0.0.1:{port}", traceparent=traceparent)
        for _ in range(100):
            if collector.received:
                break
            await asyncio.sleep(0.1)
    finally:
        server.kill()
        server.wait()
    assert status == 200
    assert seen.split("-")[1] == TRACE
    assert seen.split("-")[2] != PARENT
    [(path, sent)] = collector.received
    assert path == "/v1/traces"
    for part in (TRACE, PARENT, seen.split("-")[2]):
        assert bytes.fromhex(part) in sent
    for text in (b"moorage.request", b"moorage.api_key.name", b"http.response.status_code"):
        assert text in sent
    assert b"a secret" not in sent
