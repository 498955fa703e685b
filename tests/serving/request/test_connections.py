"""What a connection may send besides bodies: the same to the gate under the server of the vLLM image
and to the gateway under its own.
"""

import asyncio
import json
import os
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from serving.request.framing import HEAD, Framing
from tests.ports import free_port
from tests.serving.gateway.conftest import gateways  # noqa: F401 the fixture
from tests.serving.gateway.stand_in import StandIn
from tests.serving.replica_share import ROOT

IMAGE = ROOT / ".venv/images/vllm/bin/python"
BODY = json.dumps({"model": "phi", "messages": [{"role": "user", "content": "hi"}]}).encode()
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)


@contextmanager
def _gate(seconds):
    if not IMAGE.exists():
        pytest.skip("the vLLM image's environment is not installed")
    port = free_port()
    options = {"port": port, "host": "127.0.0.1", "keys": {"sk-everything": {}}}
    command = [IMAGE, "-m", "tests.serving.gate_server"]
    options["head_seconds"] = seconds
    with subprocess.Popen([*command, json.dumps(options)], cwd=ROOT) as process:
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert time.monotonic() < until
                    time.sleep(0.05)
            yield port, process.pid
        finally:
            process.kill()


@pytest.fixture(scope="module")
def gate():
    with _gate(60.0) as found:
        yield found


@pytest.fixture(params=["gate", "gateway"])
async def place(request, gateways):
    """The port and the process of one of the two."""
    if request.param == "gate":
        return request.getfixturevalue("gate")
    gateway = await gateways(phi=StandIn())
    return int(gateway.url.rpartition(":")[2]), os.getpid()


def _head(*headers, token="sk-everything"):
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"Host: x"]
    return b"\r\n".join([*lines, f"Authorization: Bearer {token}".encode(), *headers]) + b"\r\n"


def _memory(pid):
    """In MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4 // 1024


CHUNKED = _head(b"Transfer-Encoding: chunked") + b"\r\n"
FLOODS = {
    "headers": (_head(), b"X-A: " + b"a" * 8000 + b"\r\n"),
    "one header": (_head() + b"X-A: ", b"a" * 65_536),
    "a path": (b"GET /", b"a" * 65_536),
    "empty lines": (b"", b"\r\n" * 32_768),
    "trailers": (CHUNKED + CHUNK + b"0\r\n", b"X-A: " + b"a" * 8000 + b"\r\n"),
    "a chunk's extension": (CHUNKED + b"5;", b"a" * 65_536),
    "chunks' extensions": (CHUNKED, b"1;" + b"a" * 60_000 + b"\r\n \r\n"),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_of_anything_but_a_body_is_cut_off(place, flood):
    """Within a few MiB, and the server's memory does not grow with it."""
    port, pid = place
    before, sent = _memory(pid), 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start, piece = flood
    began = time.monotonic()
    with suppress(OSError):
        writer.write(start)
        while not reader.at_eof() and sent < (256 << 20):
            writer.write(piece)
            sent += len(piece)
            async with asyncio.timeout(60):
                await writer.drain()
            await asyncio.sleep(0)
    writer.close()
    assert sent < (32 << 20), "what fits into the buffers of two sockets"
    assert time.monotonic() - began < 60
    assert _memory(pid) - before < 64


async def test_what_clients_send_passes(place):
    """A head near the limit, chunks of one byte, small extensions and trailers; many requests on one
    connection, whose heads together are longer than one may be.
    """
    port, _ = place
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    small = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY * 1) + b"0\r\n\r\n"
    length = b"Content-Length: %d" % len(BODY)
    kinds = [
        _head(length) + b"\r\n" + BODY,
        _head(length, *[b"X-A: " + b"a" * 1000] * 6) + b"\r\n" + BODY,
        CHUNKED + small,
        CHUNKED + b"%x;name=value\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(BODY), BODY),
    ]
    for raw in kinds * 30:
        writer.write(raw)
        assert b" 200 " in await _answer(reader)
    writer.close()


async def _answer(reader):
    """The status line; the body is read."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).lower()
    length = next(line for line in head.splitlines() if line.startswith(b"content-length:"))
    await reader.readexactly(int(length[15:]))
    return head.splitlines()[0]


async def test_a_client_that_waits_to_be_asked(place):
    """It is asked before its body is read; where it is refused, it is told to close, so that its
    next request is not taken for the body.
    """
    port, _ = place
    expects = b"Expect: 100-continue"
    for token, length, status in (
        ("sk-everything", len(BODY), b" 100 "),
        ("sk-everything", 99_999_999, b" 413 "),
        ("wrong", len(BODY), b" 401 "),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_head(b"Content-Length: %d" % length, expects, token=token) + b"\r\n")
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).lower()
        assert status in head.splitlines()[0]
        if status == b" 100 ":
            writer.write(BODY)
            assert b" 200 " in await _answer(reader)
        else:
            assert b"connection: close" in head
        writer.close()


@pytest.mark.parametrize("kind", [pytest.param("gate", marks=pytest.mark.slow), "gateway"])
async def test_a_head_that_does_not_come_is_given_up(kind, gateways, monkeypatch):
    """A byte now and then keeps no connection open, be it the first request on it or the next; the
    time is shortened here.
    """
    monkeypatch.setattr("serving.gateway.listener.SECONDS", 0.5)
    with ExitStack() as stack:
        if kind == "gate":
            port, _ = stack.enter_context(_gate(0.5))
        else:
            port = int((await gateways(phi=StandIn())).url.rpartition(":")[2])
        await _given_up(port)


async def _given_up(port):
    whole = _head(b"Content-Length: %d" % len(BODY)) + b"\r\n"
    for before, start in ((b"", b""), (b"", whole[:40]), (whole + BODY, whole[:40])):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(before)
        if before:
            assert b" 200 " in await _answer(reader)
        writer.write(start)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(whole)
    await asyncio.sleep(0.8)  # a body has more time
    writer.write(BODY)
    assert b" 200 " in await _answer(reader)
    writer.close()


def test_framing_is_what_is_no_body():
    """A large body allows for its chunks, and for no head of that size."""
    assert not Framing(HEAD, 0).excessive
    assert Framing(HEAD + 1, 0).excessive
    assert not Framing(7 * HEAD, HEAD).excessive
