"""One start of vLLM for all files of this folder."""

from __future__ import annotations

import aiohttp
import pytest

from tests.serving.replica.server import PYTHON, START, Server
from tests.serving.replica_share import KEY


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    one = Server(tmp_path_factory.mktemp("replica"))
    one.share.write(one.colour("red"), one.colour("green"))
    one.start()
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
async def client(server):
    """An HTTP session with the key, once the replica is ready; a replica that ended is started again."""
    if server.process.poll() is not None:
        server.start()
    headers = {"authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:

        async def ready():
            async with session.get("/ready") as answer:
                return answer.status == 200

        await server.until(ready, START)
        yield session
