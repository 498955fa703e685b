"""How a replica ends: a stop finishes what runs, a death is told and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from serving.catalogue import Adapter
from tests.serving.replica.server import (
    START,
    chat,
    lives,
    processes_below,
    stream,
)
from tests.tiny_model import make_adapter

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.vital, pytest.mark.timeout(900)]


async def test_a_stop_finishes_running_requests_and_refuses_new_ones(server, client):
    """SIGTERM: not ready at once, 503 with Retry-After for new requests, the running stream
    complete, exit code 0.
    """
    started = asyncio.Event()
    running = asyncio.create_task(stream(client, "red", 1900, started))
    await started.wait()
    server.process.terminate()

    async def refused():
        return (await chat(client, "red"))[:2] == (503, "draining")

    await server.until(refused, 3)
    status, _, headers = await chat(client, "green")
    assert (status, headers["retry-after"]) == (503, "1")
    async with client.get("/ready") as answer:
        assert answer.status == 503
    assert await running == "red" * 950
    assert await asyncio.to_thread(server.process.wait, 120) == 0
    assert server.report()["ready"] is False


async def test_a_killed_launch_takes_vllm_with_it(server):
    """SIGKILL of PID 1's stand-in leaves no process behind that holds the port or the memory.
    Before that: a replica that starts fresh while the desired version is broken is ready with the
    last good one, and says so; an adapter that was never good keeps it from nothing, required or
    not.
    """
    red, green = server.colour("red"), server.colour("green")
    broken = server.share.publish(
        make_adapter(server.folder / "dora", "red", 9, model=server.tiny / "model", use_dora=True),
        "red",
    )
    held = red.model_copy(update={"desired": broken, "last_good": red.desired})
    server.share.write(held, green, Adapter(name="new", desired=broken, required=True))
    server.start()
    await server.until(
        lambda: (
            server.report()["ready"]
            and server.report()["pid"] in processes_below(server.process.pid)
        ),
        START,
    )
    state = server.state("red")
    assert (state["state"], state["reason"], state["digest"]) == (
        "Failed",
        "PreflightFailed",
        red.desired.digest,
    )
    assert server.state("green")["state"] == "Loaded"
    assert (server.state("new")["state"], server.state("new")["digest"]) == ("Failed", None)
    server.share.write(red, green)
    below = processes_below(server.process.pid)
    assert len(below) >= 3
    server.process.kill()
    await asyncio.to_thread(server.process.wait, 60)
    await server.until(lambda: not any(map(lives, below)), 10)


@pytest.mark.parametrize("victim", ["EngineCore", "Worker", "server"])
async def test_a_killed_vllm_ends_the_replica_so_that_the_platform_restarts_it(server, victim):
    """SIGKILL of any of vLLM's processes: exit code 1 soon, reported, and no process left."""
    server.start()
    await server.until(
        lambda: (
            server.report()["ready"]
            and server.report()["pid"] in processes_below(server.process.pid)
        ),
        START,
    )
    below = processes_below(server.process.pid)
    pid = server.report()["pid"]
    if victim != "server":
        pid = next(
            one for one in below if victim.encode() in Path(f"/proc/{one}/cmdline").read_bytes()
        )
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    assert await asyncio.to_thread(server.process.wait, 120) == 1
    print(f"{victim}: ended after {time.monotonic() - began:.1f} s: {server.report()['message']}")
    assert server.report()["ready"] is False
    assert "vLLM" in server.report()["message"]
    await server.until(lambda: not any(map(lives, below)), 5)
