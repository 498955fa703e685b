"""What no client sends: requests that two servers might read in two ways, and bodies that would fill
the gateway's memory while they wait.
"""

import asyncio
import json
import logging

import pytest

from serving.catalogue import Limits
from serving.gateway.passage import Patience
from tests.serving.gateway.conftest import ENVIRONMENT_KEY, SERVICE_KEY, key
from tests.serving.gateway.stand_in import StandIn

BODY = json.dumps({"model": "phi", "messages": []}).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
HIDDEN = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"


def _request(headers, body):
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ENVIRONMENT_KEY}"
    )
    return f"{head}\r\n{headers}\r\n".encode() + body


UNCLEAR = {
    "both lengths": _request(
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", CHUNKED + HIDDEN
    ),
    "both, turned": _request(
        f"Transfer-Encoding: chunked\r\nContent-Length: {len(CHUNKED + HIDDEN)}\r\n",
        CHUNKED + HIDDEN,
    ),
    "two lengths": _request(f"Content-Length: {len(BODY)}\r\nContent-Length: 5\r\n", BODY),
    "a list": _request(f"Content-Length: {len(BODY)}, {len(BODY)}\r\n", BODY),
    "a sign": _request(f"Content-Length: +{len(BODY)}\r\n", BODY),
    "another encoding": _request("Transfer-Encoding: xchunked\r\n", CHUNKED),
    "chunked first": _request("Transfer-Encoding: chunked, identity\r\n", CHUNKED),
    "a space": _request("Transfer-Encoding : chunked\r\n", CHUNKED),
    "a folded line": _request("Transfer-Encoding:\r\n chunked\r\n", CHUNKED),
    "no chunk": _request("Transfer-Encoding: chunked\r\n", b"zz\r\n" + BODY),
    "line feeds": b"POST /v1/chat/completions HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
    "a zero byte": _request("X-Key: sk-secret\0\r\nContent-Length: 2\r\n", b"{}"),
    "many headers": _request("X-A: b\r\n" * 10_000, b""),
    "a long header": _request(f"X-A: {'a' * 100_000}\r\n", b""),
}


@pytest.mark.parametrize("raw", UNCLEAR.values(), ids=UNCLEAR.keys())
async def test_an_unclear_request_is_refused(gateways, caplog, raw):
    """It is answered with 400 in OpenAI's shape, its connection is closed, the service sees nothing
    of it, and nothing of it is logged.
    """
    phi = StandIn()
    gateway = await gateways(phi=phi)
    caplog.set_level(logging.INFO)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    writer.write(raw)
    async with asyncio.timeout(90):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 400 " in head.splitlines()[0]
    assert b"aiohttp" not in head
    assert json.loads(body)["error"]["code"] == "invalid_request"
    assert not phi.seen
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_large_bodies_that_wait_are_bounded(gateways):
    """A key has half of the memory for bodies of requests that wait; the next large one is told to
    come again, small ones and other keys are taken.
    """
    phi = StandIn(awake=False)
    gateway = await gateways(patience=Patience(stream=30, comments=0.05), phi=phi)
    line = gateway.world.backends["phi"].line
    large = [{"role": "user", "content": "x" * (8 << 20)}]
    waiting = []
    for token, count in ((ENVIRONMENT_KEY, 3), (SERVICE_KEY, 1)):
        waiting += [asyncio.create_task(_status(gateway, token, large)) for _ in range(count)]
        async with asyncio.timeout(90):
            while len(line) < len(waiting):
                await asyncio.sleep(0.01)
    assert await _status(gateway, ENVIRONMENT_KEY, large) == 429
    waiting.append(asyncio.create_task(_status(gateway, ENVIRONMENT_KEY, [])))
    async with asyncio.timeout(90):
        while len(line) < 5:
            await asyncio.sleep(0.01)
    phi.awake.set()
    assert await asyncio.gather(*waiting) == [200] * 5
    assert not gateway.front._lane._arriving


@pytest.mark.parametrize("whose", ["the Environment's key", "the service's key", "the service"])
async def test_a_used_up_limit_is_told_before_the_body_comes(whose, gateways):
    """A caller that may send no more learns so from the head of its request, not after it has sent
    megabytes.
    """
    of_environment = whose == "the Environment's key"
    more = {"keys": (key("team", "sk-team", requests_per_minute=1),)} if of_environment else {}
    limited = {"keys": (key("default", SERVICE_KEY, requests_per_minute=1),)}
    if whose == "the service":
        limited = {"limits": Limits(requests_per_minute=1)}
    phi = StandIn()
    gateway = await gateways(phi=phi, more=more, routes={} if of_environment else {"phi": limited})
    token = "sk-team" if of_environment else SERVICE_KEY
    assert await _status(gateway, token, []) == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    writer.write(f"{head}Content-Length: {1 << 20}\r\n\r\n".encode())
    async with asyncio.timeout(60):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert b" 429 " in answer.splitlines()[0]
    assert b"\r\nretry-after: " in answer.lower()
    assert len(phi.seen) == 1


async def _status(gateway, token, messages):
    async with gateway.post(token=token, messages=messages) as answer:
        return answer.status
