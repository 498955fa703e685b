"""What systemd is told of the daemon: that it is ready, that its loop still turns, that it stops.

The protocol is sd_notify(3): datagrams to the socket in NOTIFY_SOCKET. Without one nothing is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket

import structlog

log = structlog.get_logger(__name__)
READY, ALIVE, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"
# Longer than any pause between two looks at Azure; systemd gives up on a start that takes too long.
STILL_STARTING = "EXTEND_TIMEOUT_USEC=90000000"
LONGEST_SILENCE = 60.0  # seconds between two of these


def notify(word: str) -> None:
    """Send one word. Nobody who cannot be told may keep the daemon from its work."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            out.sendto(word.encode(), address)
    except OSError as error:
        log.debug("systemd is not told", word=word, error=str(error))


async def beat() -> None:
    """Tell that the loop turns, three times in each period of the watchdog, until cancelled: a loop
    that hangs tells nothing and is restarted.
    """
    period = _period()
    while period is not None:
        notify(ALIVE)
        await asyncio.sleep(period / 3)


def _period() -> float | None:
    """Seconds; None without a watchdog of this process."""
    microseconds, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    mine = process in (None, "", str(os.getpid()))
    return int(microseconds) / 1e6 if microseconds.isdigit() and mine else None
