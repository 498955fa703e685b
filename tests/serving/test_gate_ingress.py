"""The gate's refusals as a client behind Container Apps' ingress gets them: the real gate, the server
that vLLM runs it with, and the local Azure's ingress in front.
"""

import asyncio
import json
from collections import Counter
from itertools import product

import pytest

from infra.local_azure.runtime.workload import Mount
from tests.local_azure.stage import stage
from tests.serving.replica_share import ROOT

BODY_LIMIT = 1 << 20
OPTIONS = {
    "port": 8000,
    "keys": {"open": {}, "limited": {"requestsPerMinute": 1}},
    "limits": {"body": BODY_LIMIT},
}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
IMAGE = f'- image: ["gate:*"]\n  environment: {ROOT / ".venv/images/vllm"}\n  cmd: [python3]\n'
ROUNDS = 25


@pytest.fixture
async def client(tmp_path):
    async with stage(tmp_path) as scene:
        scene.images.write_text(IMAGE)
        await scene.restart_scheduler()
        command = ("python3", "-m", "tests.serving.gate_server", json.dumps(OPTIONS))
        scene.scheduler.set_workloads(
            [
                scene.workload(
                    image="gate:1",
                    command=command,
                    env={"PYTHONPATH": "/code"},
                    mounts=(Mount(ROOT, "/code", read_only=True),),
                )
            ]
        )
        await scene.reach("/ready")
        async with scene.client() as session:
            yield session


async def _chunks(body):
    for at in range(0, len(body), 64 << 10):
        yield body[at : at + (64 << 10)]


async def _statuses(client, key, body, *, chunked):
    async def one():
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        data = _chunks(body) if chunked else body
        async with client.post("/v1/chat/completions", data=data, headers=headers) as answer:
            found = await answer.json()
            return answer.status, found.get("error", {}).get("code")

    one_by_one = [await one() for _ in range(ROUNDS)]
    together = await asyncio.gather(*(one() for _ in range(ROUNDS)))
    return Counter(one_by_one), Counter(together)


async def test_a_body_that_is_too_large_is_always_413(client):
    """Just too large or far, by its length or in chunks, 25 in a row and 25 at once; a 503 would be
    tried again by every client.
    """
    for size, chunked in product((BODY_LIMIT + 1, 4 << 20), (False, True)):
        body = json.dumps(CHAT).encode().ljust(size)
        for counted in await _statuses(client, "open", body, chunked=chunked):
            assert counted == {(413, "request_too_large"): ROUNDS}, (size, chunked)


async def test_a_used_up_key_always_gets_429(client):
    """Whatever it sends, unless that never fits, which is 413 by its length or in chunks: a client
    that is told to come back would send it again.
    """
    await _statuses(client, "limited", json.dumps(CHAT).encode(), chunked=False)
    for size, chunked in product((0, BODY_LIMIT - 1000, 4 << 20), (False, True)):
        body = json.dumps(CHAT).encode().ljust(size)
        wanted = (429, "rate_limit_exceeded")
        if size > BODY_LIMIT:
            wanted = (413, "request_too_large")
        for counted in await _statuses(client, "limited", body, chunked=chunked):
            assert counted == {wanted: ROUNDS}, (size, chunked)
