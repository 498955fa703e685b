"""The ingress as a client meets it: pass-through, streaming, errors, scale from zero, and no failed
request while things move.
"""

import asyncio
import os
import select
import signal
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.local_azure.stage import stage
from tests.patience import LEAST

_AIOHTTP = """
import asyncio, os
from aiohttp import web
name = os.environ["CONTAINER_APP_REVISION"]
async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for index in range(20):
        await response.write(f"{name} {index}\\n".encode())
        await asyncio.sleep(0.02)
    await response.write(b"end")
    return response
async def socket(request):
    server = web.WebSocketResponse(protocols=("chat",))
    await server.prepare(request)
    async for message in server:
        if message.data == "bye": break
        if message.type is web.WSMsgType.TEXT: await server.send_str("text " + message.data)
        else: await server.send_bytes(b"bytes " + message.data)
    return server
async def upload(request):
    total = 0
    async for chunk in request.content.iter_any(): total += len(chunk)
    return web.Response(text=f"{total} {request.headers.get('Transfer-Encoding')}")
async def ok(request): return web.Response(text=name)
app = web.Application()
app.add_routes([web.get("/stream", stream), web.get("/socket", socket), web.post("/upload", upload), web.get("/{x:.*}", ok), web.post("/{x:.*}", ok)])
web.run_app(app, port=8000, access_log=None, print=None)
"""


def _aiohttp(scene, revision="phi--one", **changes):
    return scene.workload(
        revision, image="aiohttp:1", command=("python3", "-c", _AIOHTTP), **changes
    )


async def test_requests_and_answers_pass_through_unchanged(tmp_path):
    """Path, query, body and repeated headers stay; Envoy's and Container Apps' headers are added,
    connection headers dropped.
    """
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload()])
        await scene.get()
        async with scene.client() as client:
            headers = {
                "X-Own": "1",
                "Connection": "X-Hop",
                "X-Hop": "1",
                "X-Forwarded-For": "10.0.0.1",
                "X-Request-Id": "mine",
            }
            async with client.get("/a%2Fb/c?x=%2F1&y=ü", headers=headers) as response:
                seen = await response.json(content_type=None)
                assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
            assert seen["path"] == "/a%2Fb/c?x=/1&y=%C3%BC"
            got = {name.title(): value for name, value in seen["headers"].items()}
            assert (got["X-Own"], got["X-Forwarded-For"], got["X-Forwarded-Proto"]) == (
                "1",
                "10.0.0.1, 127.0.0.1",
                "https",
            )
            assert (got["X-Request-Id"], got["Host"]) == ("mine", f"127.0.0.1:{scene.port}")
            assert (got["X-Ms-Containerapp-Name"], got["X-Ms-Containerapp-Revision-Name"]) == (
                "phi",
                "phi--one",
            )
            assert "X-Hop" not in got
            for size in (0, 10, 3_000_000):
                async with client.post("/echo", data=b"x" * size) as response:
                    assert len(await response.read()) == size
            async with client.head("/") as response:
                assert response.status in (200, 501)


async def test_a_stream_arrives_as_it_is_made_and_ends_upstream_when_the_client_leaves(tmp_path):
    """The first chunk comes long before the last; a client that leaves ends the request in the
    replica.
    """
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload()])
        await scene.get()
        log = scene.status("phi--one").replicas[0].log
        async with scene.client() as client:
            began = time.monotonic()
            async with client.get("/stream") as response:
                await response.content.readany()
                first = time.monotonic() - began
                assert (await response.content.read()).endswith(b"data: 19\n\n")
            assert first < (time.monotonic() - began) / 2
            async with client.get("/stream") as response:
                await response.content.readany()
        for _ in range(100):
            if "client left" in log.read_text():
                break
            await asyncio.sleep(0.02)
        assert "client left" in log.read_text()


async def test_chunked_uploads_and_websockets_pass(tmp_path):
    """A body without length is streamed on; WebSocket frames and subprotocols go both ways."""
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([_aiohttp(scene)])
        await scene.reach()

        async def body():
            for _ in range(30):
                yield b"y" * 50_000

        async with scene.client() as client:
            async with client.post("/upload", data=body()) as response:
                assert await response.text() == "1500000 chunked"
            async with client.ws_connect("/socket", protocols=("chat",)) as socket:
                assert socket.protocol == "chat"
                await socket.send_str("hi")
                assert (await socket.receive()).data == "text hi"
                await socket.send_bytes(b"\x00")
                assert (await socket.receive()).data == b"bytes \x00"
                await socket.send_str("bye")
                assert (await socket.receive()).type in (
                    aiohttp.WSMsgType.CLOSE,
                    aiohttp.WSMsgType.CLOSED,
                )


async def test_what_cannot_be_served_is_answered_clearly(tmp_path):
    """503 without a ready replica, 404 when the app has no active revision, 504 when a held request
    waits too long.
    """
    async with stage(tmp_path, request_timeout_s=1) as scene:
        never = scene.workload(env={"BOOT_SECONDS": "60"}, termination_grace_s=0.1)
        scene.scheduler.set_workloads([never])
        await scene.until(lambda status: bool(status.replicas))
        await _until_answered(scene, 503, "No replica of revision phi--one is ready")
        scene.scheduler.set_workloads(
            [
                scene.workload(
                    "phi--two", env={"BOOT_SECONDS": "60"}, min_replicas=0, termination_grace_s=0.1
                )
            ]
        )
        await _until_answered(scene, 504, "stream timeout")
        scene.scheduler.set_workloads([])
        await _until_answered(scene, 404, "stopped or does not exist")


async def test_a_stream_is_cut_at_the_limit(tmp_path):
    """Tokens that keep coming do not prolong a request: the connection is cut, for its status was
    sent long ago.
    """
    async with stage(tmp_path, request_timeout_s=12, speed=60) as scene:
        scene.scheduler.set_workloads([scene.workload()])
        await scene.reach()
        async with scene.client() as client, client.get("/stream") as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


async def _until_answered(scene, status, text, seconds=LEAST):
    end = time.monotonic() + seconds
    seen = None
    async with scene.client() as client:
        while time.monotonic() < end:
            try:
                async with client.get("/") as response:
                    seen = (response.status, await response.text())
                    if seen[0] == status and text in seen[1]:
                        return
            except aiohttp.ClientConnectorError as error:
                seen = str(error)
            await asyncio.sleep(0.02)
    pytest.fail(f"wanted {status} {text}, last answer: {seen}")


async def test_a_sleeping_revision_is_woken_by_a_request_that_waits_for_it(tmp_path):
    """It boots once to prove itself, falls asleep after the cooldown, and the next request is held
    until a replica is ready.
    """
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(min_replicas=0, cooldown_s=3)])
        await scene.healthy()
        scene.scheduler.set_workloads([scene.workload(min_replicas=0, cooldown_s=0)])
        asleep = await scene.until(lambda status: status.running_state == "ScaledToZero")
        assert (asleep.health_state, asleep.replicas) == ("Healthy", ())
        await scene.restart_scheduler()
        scene.scheduler.set_workloads(
            [scene.workload(min_replicas=0, cooldown_s=5, env={"BOOT_SECONDS": "0.3"})]
        )
        await asyncio.sleep(0.3)
        assert scene.status("phi--one").running_state == "ScaledToZero", (
            "a proven revision is not booted again"
        )
        async with scene.client() as client, client.get("/") as response:
            assert response.status == 200
        assert '"KEDAScaleTargetDeactivated"' in scene.events()


async def test_load_brings_replicas_and_each_takes_its_share(tmp_path):
    """More requests at once than the rule's concurrency start a second replica; the least busy one
    is chosen.
    """
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(concurrent_requests=1, max_replicas=2)])
        await scene.get()
        async with scene.client() as client:
            enough = asyncio.Event()

            async def load():
                while not enough.is_set():
                    async with client.get("/stream") as response:
                        await response.read()

            streams = [asyncio.create_task(load()) for _ in range(16)]
            await scene.healthy(replicas=2)
            enough.set()
            await asyncio.gather(*streams)
        assert len({(await scene.get())["replica"] for _ in range(20)}) == 2


async def test_no_request_fails_while_revisions_and_replicas_change(tmp_path):
    """Eight clients stream through three rollouts, a restart and scaling; all answers are whole,
    old and new revisions serve.
    """
    async with stage(tmp_path) as scene:
        first, second, third = (
            _aiohttp(scene, f"phi--{name}", min_replicas=2, weight=0)
            for name in ("one", "two", "three")
        )
        scene.scheduler.set_workloads([_weighted(first, 100)])
        await scene.healthy("phi--one", replicas=2)
        await scene.reach()
        done: list[str] = []
        enough = asyncio.Event()
        clients = [
            asyncio.create_task(_stream(scene, done, enough, post=index % 2 == 0))
            for index in range(8)
        ]
        for old, new in ((first, second), (second, third)):
            scene.scheduler.set_workloads([_weighted(old, 100), new])
            await scene.healthy(new.revision, replicas=2)
            for weight in (20, 100):
                scene.scheduler.set_workloads(
                    [_weighted(old, 100 - weight), _weighted(new, weight)]
                )
                await asyncio.sleep(0.5)
            scene.scheduler.set_workloads([_weighted(new, 100)])
            await scene.until(lambda status: not status.replicas, old.revision)
        await scene.scheduler.restart(third.key)
        names = {replica.name for replica in scene.status("phi--three").replicas}
        await scene.until(
            lambda status: (
                len(status.replicas) == 2
                and not names & {replica.name for replica in status.replicas}
            ),
            "phi--three",
        )
        await scene.restart_scheduler()
        scene.scheduler.set_workloads([_weighted(third, 100)])
        await asyncio.sleep(0.5)
        enough.set()
        await asyncio.gather(*clients)
        assert set(done) == {"phi--one", "phi--two", "phi--three"}
        assert len(done) > 50


def _weighted(workload, weight):
    return replace(workload, weight=weight)


async def _stream(scene, done, enough, *, post):
    async with scene.client() as client:
        while not enough.is_set():
            async with client.get("/stream") as response:
                assert response.status == 200, await response.text()
                text = await response.text()
            assert text.endswith("end"), f"cut after {text[-40:]!r}"
            done.append(text.split()[0])
            if post:
                async with client.post("/x", data=b"{}") as response:
                    assert response.status == 200


async def test_a_plain_script_finishes_its_streams_when_its_replica_goes(tmp_path):
    """A server without SIGTERM handler lives until its last request is done, then it is killed at
    once.
    """
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(termination_grace_s=20)])
        await scene.get()
        async with scene.client() as client, client.get("/stream") as response:
            await response.content.readany()
            scene.scheduler.set_workloads([scene.workload("phi--two")])
            assert (await response.content.read()).endswith(b"data: 19\n\n")
        await scene.until(lambda status: not status.replicas)


async def test_a_replica_that_refuses_connections_costs_no_request(tmp_path):
    """Requests that meet a just-killed container are tried on the other replica, POSTs too: they
    were never delivered.
    """
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload(min_replicas=2)])
        victim = (await scene.healthy(replicas=2)).replicas[0]
        await scene.get()
        async with scene.client() as client:
            process = os.pidfd_open(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)
            await asyncio.to_thread(
                select.select, [process], [], [], 10
            )  # until it is dead its socket takes connections
            os.close(process)
            for _ in range(20):
                async with client.post("/x", data=b"1") as response:
                    assert response.status == 200


async def test_a_killed_ingress_comes_back_and_serves(tmp_path):
    """kill -9 of the ingress: the scheduler starts it again with the same routes."""
    async with stage(tmp_path) as scene:
        scene.scheduler.set_workloads([scene.workload()])
        await scene.get()
        before = _ingress(scene)
        os.kill(before, signal.SIGKILL)
        assert (await scene.get())["replica"]
        assert _ingress(scene) != before


def _ingress(scene):
    for pid in scene.processes():
        if b"infra.local_azure.ingress" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None
