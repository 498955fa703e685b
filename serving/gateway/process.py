"""The process of a gateway, from its options to its end; __main__.py starts it.

SIGTERM drains it: requests that run or wait are answered first, and new ones go to another replica
as soon as the platform has noticed that this one is not ready.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from serving.gateway.background import Background
from serving.gateway.front import Front
from serving.gateway.listener import Listener
from serving.gateway.world import GatewayWorld, Spot
from serving.request.bodies import SECONDS
from serving.request.framing import KEPT_OPEN

GRACE = 240.0  # seconds that a drain waits for requests: as long as one may be held
_UNNOTICED = 5.0  # seconds in which the platform may still send requests to a draining replica
_LAST = 10.0  # seconds for the last writes
log = logging.getLogger("moorage.gateway")


async def run(spot: Spot, port: int, grace: float = GRACE) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    world = GatewayWorld(spot)
    background = Background(world)
    front = Front(world, background)
    await world.start()
    await background.start()
    server = Listener(
        front.handle,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=KEPT_OPEN,
        lingering_time=SECONDS,  # a refused body is read and dropped, or its answer is lost
    )
    listener = await loop.create_server(server, None, port, reuse_address=True, backlog=1024)
    log.info("listening on port %d", port)
    await stop.wait()
    front.draining = True
    background.drain()
    log.info("draining: %d requests are running", front.running)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await asyncio.sleep(_UNNOTICED)
            while front.running or background.making:
                await asyncio.sleep(0.1)
    listener.close()
    await server.shutdown(1.0)
    with contextlib.suppress(TimeoutError):  # a share that hangs does not keep the process
        async with asyncio.timeout(_LAST):
            await background.close()
            await world.close()


def _room() -> int:
    """Bytes for large bodies: an eighth of the memory, because each is kept as bytes and as a value
    and is copied for the service.
    """
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no limit, or another kind of control group
        return Spot.room
    return max(Spot.room, limit // 8)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.gateway")
    parser.add_argument("--share", type=Path, required=True)
    parser.add_argument("--environment", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--grace", type=float, default=GRACE)
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO,
        format="%(levelname)s %(asctime)s [moorage] %(message)s",
        stream=sys.stderr,
    )
    spot = Spot(
        share=options.share,
        data=options.data,
        environment=options.environment,
        replica=os.environ.get("CONTAINER_APP_REPLICA_NAME") or socket.gethostname(),
        key=os.environ.get("MOORAGE_GATEWAY_KEY", ""),
        room=_room(),
    )
    with contextlib.suppress(ImportError):  # the image may have none
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(run(spot, options.port, options.grace))
    return 0
