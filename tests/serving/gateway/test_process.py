"""The gateway as a process of its own: killed, and asked to end."""

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest

from serving.gateway.routes import GatewayRoutes, UsageLine
from tests.patience import LEAST
from tests.ports import free_port
from tests.serving.gateway.conftest import ADMIN_KEY, ENVIRONMENT_KEY, key, route
from tests.serving.gateway.stand_in import StandIn, served

pytestmark = [pytest.mark.slow, pytest.mark.vital]
HEADERS = {"authorization": f"Bearer {ENVIRONMENT_KEY}"}


@asynccontextmanager
async def process(tmp_path, url):
    """A running gateway: its process and its address."""
    folder = tmp_path / "gateway" / "dev" / "routes"
    folder.mkdir(parents=True, exist_ok=True)
    keys = (key("team", ENVIRONMENT_KEY), key("ops", ADMIN_KEY, admin=True))
    routes = GatewayRoutes(
        environment="dev", generation=1, services=(route("phi", url),), keys=keys
    )
    (folder / routes.file_name).write_bytes(routes.dump())
    port = free_port()
    arguments = ("--share", tmp_path, "--environment", "dev", "--data", tmp_path / "data")
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "serving.gateway", *map(str, arguments), "--port", str(port)),
        env=os.environ | {"CONTAINER_APP_REPLICA_NAME": "gw-1", "MOORAGE_GATEWAY_KEY": "sk-gw"},
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=HEADERS) as session:
            async with asyncio.timeout(LEAST):
                while not await _ready(session):
                    await asyncio.sleep(0.05)
            yield running, session
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def _ready(session):
    try:
        async with session.get("/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _post(session, **more):
    body = {"model": "phi", "messages": []} | more
    return session.post("/v1/chat/completions", json=body)


def _told(tmp_path):
    lines = []
    for file in (tmp_path / "data" / "usage").glob("*/*.jsonl"):
        lines += [UsageLine.model_validate_json(one) for one in file.read_text().splitlines()]
    return sum(line.requests for line in lines), sum(line.output_tokens for line in lines)


class Sent:
    """The words of an answer, and when each of them was sent."""

    def __init__(self, count):
        self.count, self.times = count, []

    def __len__(self):
        return self.count

    def __iter__(self):
        for _ in range(self.count):
            self.times.append(time.monotonic())
            yield "word"

    def before(self, seconds):
        """How many were sent at least so long ago."""
        return sum(at <= time.monotonic() - seconds for at in self.times)


async def test_a_killed_gateway_loses_at_most_ten_seconds(tmp_path):
    """What was used ten seconds before kill -9 is on the share, a stream that runs included; a new
    gateway goes on counting.
    """
    phi = StandIn(words=("word",) * 2000)
    async with served(phi.handle) as url:
        async with process(tmp_path, url) as (gateway, session):
            async with _post(session) as answer:
                assert answer.status == 200
            phi.pause, phi.words = 0.02, (sent := Sent(2000))
            async with _post(session, stream=True) as answer:
                assert answer.status == 200
                async with asyncio.timeout(LEAST):
                    while _told(tmp_path)[1] < 2050:
                        await asyncio.sleep(0.1)
                gateway.send_signal(signal.SIGKILL)
                await gateway.wait()
                assert _told(tmp_path)[1] >= 2000 + sent.before(10)
        phi.pause, phi.words = 0, ("word",)
        async with process(tmp_path, url) as (gateway, session):
            async with _post(session) as answer:
                assert answer.status == 200
            gateway.terminate()
            await gateway.wait()
    requests, tokens = _told(tmp_path)
    assert requests == 2, "the stream that was killed did not end"
    assert 2051 <= tokens < 4000


async def test_a_gateway_that_has_to_end_answers_first(tmp_path):
    """After SIGTERM a stream goes on to its end, a request that waits for a start is answered, and
    the process ends by itself with code 0.
    """
    phi = StandIn(awake=False)
    phi.pause = 0.2
    async with served(phi.handle) as url, process(tmp_path, url) as (gateway, session):
        async with _post(session, stream=True) as streamed:
            await streamed.content.readline()
            plain = asyncio.create_task(_text(session))
            async with asyncio.timeout(LEAST):
                while await _held(session) < 2:
                    await asyncio.sleep(0.05)
                gateway.terminate()
                while await _ready(session):
                    await asyncio.sleep(0.05)
            phi.awake.set()
            assert (await streamed.text()).rstrip().endswith("data: [DONE]")
        assert "one two three" in await plain
        async with asyncio.timeout(LEAST):
            assert await gateway.wait() == 0
    assert _told(tmp_path) == (2, 6)


async def _held(session):
    """How many requests wait for the service."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with session.get("/state", headers=headers) as answer:
        return (await answer.json())["services"][0]["held"]


async def _text(session):
    async with _post(session) as answer:
        return await answer.text()
