"""What systemd hears, on a socket as systemd opens one."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from reconciler import supervision

UNIT = Path(__file__).parents[1] / "infra" / "deploy" / "moorage.service"


@pytest.fixture(params=["path", "abstract"])
def heard(request, tmp_path, monkeypatch):
    """Receives what was told, without waiting."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@moorage-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(name.replace("@", "\0", 1))
        inbox.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)

        def receive():
            words = []
            try:
                while True:
                    words.append(inbox.recv(100).decode())
            except BlockingIOError:
                return words

        yield receive


def test_systemd_hears_each_word(heard):
    """One datagram per word."""
    supervision.notify(supervision.READY)
    supervision.notify(supervision.STOPPING)
    assert heard() == ["READY=1", "STOPPING=1"]


async def test_the_watchdog_is_fed_while_the_loop_turns(heard, monkeypatch):
    """Three times in a period; a loop that is blocked tells nothing."""
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    beat = asyncio.create_task(supervision.beat())
    await asyncio.sleep(0.35)
    assert heard()[:3] == ["WATCHDOG=1"] * 3
    heard()
    time.sleep(0.3)  # noqa: ASYNC251 - the loop hangs, and that is what is tested
    assert heard() == []
    beat.cancel()


@pytest.mark.parametrize("process", ["1", ""])
async def test_only_a_watchdog_of_this_process_is_fed(heard, monkeypatch, process):
    """WATCHDOG_PID may name the parent; without WATCHDOG_USEC there is none."""
    monkeypatch.setenv("WATCHDOG_PID", process)
    if process:
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
    await asyncio.wait_for(supervision.beat(), 1)
    assert heard() == []


def test_without_systemd_nothing_happens(monkeypatch, tmp_path):
    """No socket, or one that nobody reads any more."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    supervision.notify(supervision.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    supervision.notify(supervision.READY)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path):
    """`systemd-analyze verify` finds nothing wrong with it, apart from programs that are not
    installed here.
    """
    unit = tmp_path / "moorage.service"
    unit.write_text(UNIT.read_text().replace("/opt/moorage/.venv/bin/moorage", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "moorage.service" in line]
    assert complaints == [], done.stderr
