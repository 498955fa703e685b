"""Refusals over real connections: whatever the body, by length or chunked, directly or through the
local Azure's proxy of requests, the answer arrives and the connection is not reset.
"""

import asyncio
import hashlib
import http.client
import socket
from types import SimpleNamespace

import aiohttp
import pytest
import uvicorn

from serving.catalogue import ApiKey, Limits
from serving.gate import Door, Gate
from serving.request.keys import Keys

LIMIT = 1 << 20
KEY = ApiKey(name="k", sha256=hashlib.sha256(b"sk").hexdigest(), requests_per_minute=1)
OTHER = ApiKey(name="o", sha256=hashlib.sha256(b"sk-o").hexdigest())


async def _app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture(params=["h11", "httptools"])
async def gate(request):
    """The gate's port, under either of uvicorn's parsers."""
    pytest.importorskip(request.param)
    door = Door(ready=lambda: (True, ""), alive=lambda: True, open=True)
    door.keys = Keys([KEY, OTHER])
    door.limits = Limits(body=LIMIT)
    inner = Gate(_app)

    async def app(scope, receive, send):
        scope["app"] = SimpleNamespace(state=SimpleNamespace(moorage=door))
        if scope["type"] == "http":
            await inner(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_level="error", lifespan="off", http=request.param)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        await serving


async def _parts(count):
    for _ in range(count):
        yield b"x" * (64 << 10)
        await asyncio.sleep(0)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_refusal_arrives_every_time(gate, chunked):
    """25 bodies beyond the limit are 25 times 413; a key without a request left, or no key, is 429
    or 401 as often, whatever it sends.
    """
    url = f"http://127.0.0.1:{gate}/v1/completions"

    async def post(session, token, parts):
        headers = {"authorization": f"Bearer {token}"}
        if not chunked:
            headers["content-length"] = str(parts * (64 << 10))
        async with session.post(url, data=_parts(parts), headers=headers) as answer:
            await answer.read()
            return answer.status

    async with aiohttp.ClientSession() as session:
        assert {await post(session, "sk-o", 80) for _ in range(25)} == {413}
        assert {await post(session, "no", 40) for _ in range(25)} == {401}
        async with session.post(url, json={}, headers={"authorization": "Bearer sk"}) as answer:
            assert answer.status == 200
        assert {await post(session, "sk", 10) for _ in range(25)} == {429}


async def test_a_client_that_reads_only_when_it_has_sent_all_gets_the_answer(gate):
    """As urllib and requests do; the next request on the connection works."""

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", gate, timeout=30)
        found = []
        for body in (b"x" * (8 << 20), b"{}"):
            connection.request("POST", "/v1/completions", body, {"authorization": "Bearer sk-o"})
            answer = connection.getresponse()
            answer.read()
            found.append(answer.status)
        connection.close()
        return found

    for _ in range(5):
        assert await asyncio.to_thread(ask) == [413, 200]


async def test_a_refusal_of_what_was_read_whole_is_over_at_once(gate):
    """The connection takes the next request; nothing waits for the client to leave."""
    url = f"http://127.0.0.1:{gate}/v1/completions"
    headers = {"authorization": "Bearer sk-o"}
    async with asyncio.timeout(10), aiohttp.ClientSession(headers=headers) as session:
        for _ in range(10):
            async with session.post(url, json={"n": 16_384}) as answer:
                assert (answer.status, await answer.read() != b"") == (400, True)


async def test_a_client_that_waits_to_be_asked_is_refused_without_its_body(gate):
    """`Expect: 100-continue`: the refusal is the answer, and no 100 follows it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate)
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-o\r\n"
        b"content-length: 9000000\r\nexpect: 100-continue\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    rest = await asyncio.wait_for(reader.read(4000), 10)
    assert b"100 Continue" not in rest
    writer.close()
