"""How a replica reaches apps from inside, and how the ingress reaches it, without a network
namespace: real sockets of this machine, and a shim that the test plays.
"""

import asyncio
import socket
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

from infra.local_azure.ingress import proxy, ways_out
from infra.local_azure.ingress.table import App, Revision, Table
from infra.local_azure.ingress.ways_out import WaysOut
from infra.local_azure.runtime.shim_client import ShimClient, ShimGoneError


class Inside:
    """A replica. Its shim does not answer the first `silent` questions."""

    def __init__(self, silent=0):
        self.gone, self.silent = False, silent

    async def bare_socket(self):
        if self.silent:
            self.silent -= 1
            raise ShimGoneError("no answer within 5 s")
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


@pytest.fixture
def port():
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return probe.getsockname()[1]


@pytest.fixture
async def ways(port, monkeypatch):
    """The ways out of the replicas in `present`; whoever comes is greeted and kept."""
    monkeypatch.setattr(ways_out, "_AGAIN_S", 0.05)
    present, kept = [], []

    async def greet(_port, connection):
        connection.send(b"!")
        kept.append(connection)

    table = SimpleNamespace(replicas=lambda: present, apps={port: None}, azure=None)
    ways = WaysOut(table, greet)
    yield SimpleNamespace(present=present, kept=kept, follow=ways.follow)
    await ways.close()
    for connection in kept:
        connection.close()


async def reached(port):
    """A connection that was greeted, long before a port of a former connection would be free again."""
    until = time.monotonic() + 20
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await asyncio.wait_for(reader.readexactly(1), 5) == b"!"
            return writer
        except (OSError, asyncio.IncompleteReadError):
            assert time.monotonic() < until, "the way out stays closed"
            await asyncio.sleep(0.02)


async def test_a_replica_that_comes_back_reaches_apps_at_once(port, ways):
    """Its container was killed and started again: connections of its former life still have the
    port, open or waiting for their end. Without a way out its callers would wait until they gave
    up.
    """
    ways.present.append(Inside())
    ways.follow()
    (await reached(port)).close()
    ways.kept.pop().close()  # ours was the first to close in one, and one stays open
    stays = await reached(port)
    for _ in range(3):
        ways.present.clear()
        ways.follow()
        ways.present.append(Inside())
        ways.follow()
        (await reached(port)).close()
    stays.close()


async def test_a_way_out_that_could_not_be_opened_is_tried_again(port, ways):
    """The shim was too busy to answer, or something had the port for a while."""
    with closing(socket.create_server(("127.0.0.1", port))):
        ways.present.append(Inside(silent=2))
        ways.follow()
        await asyncio.sleep(0.3)
        assert not ways.kept
    (await reached(port)).close()


async def test_a_shim_that_does_not_answer_is_connected_to_anew(tmp_path, monkeypatch):
    """A connection that brought no answer is closed, and its late answer disturbs nobody."""
    monkeypatch.setattr("infra.local_azure.runtime.shim_client._TIMEOUT_S", 0.05)
    path = tmp_path / "shim.sock"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as listener:
        listener.bind(str(path))
        listener.listen()
        gone = []
        client = ShimClient(path, on_gone=lambda: gone.append(1))
        with pytest.raises(ShimGoneError):
            await client.connect()
        late, _ = listener.accept()
        with closing(late):
            assert late.recv(100)
            with pytest.raises(BrokenPipeError):
                late.send(b'{"id": 1, "result": {}}')
        asked = asyncio.create_task(client.connect())
        await asyncio.sleep(0)
        again, _ = listener.accept()
        with closing(again):
            again.recv(100)
            again.send(b'{"id": 2, "result": {"phase": "Running"}}')
            assert await asked == {"phase": "Running"}
            assert not gone
            client.close()


async def test_a_replica_that_refused_is_asked_again_although_no_table_changes(monkeypatch):
    """A container that is back within one pass of the scheduler changes none: a request that is
    held for it would wait for its whole time.
    """
    monkeypatch.setattr(proxy, "_AGAIN_S", 0.05)
    replica = SimpleNamespace(name="phi-1", gone=False, in_flight=0)
    revision = Revision("phi--one", hold=True, replicas=[replica])
    exchange = proxy._Exchange(Table(), App("phi", 1), revision, None, cut=False)
    exchange._refused.add(replica.name)
    async with asyncio.timeout(2):
        assert await exchange._pick() is replica
    assert revision.waiting == 0
