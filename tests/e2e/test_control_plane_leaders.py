"""Two daemons with the same documents: one writes, and the other takes over when it dies
or freezes.
"""

import signal
import socket
import time

import pytest

from tests.e2e.two_daemons import TAKEOVER, cloud, save, user  # noqa: F401 - two fixtures


def daemon(stage, name):
    return stage.up("-y", MOORAGE_STATE_DIR=str(stage.root / name))


async def taken_over(other, cloud, since):
    """How long it took until the other daemon began to write; then until it has written what the
    documents ask for, which has no limit of its own.
    """
    began = time.monotonic()
    await other.until(lambda: cloud.writes(since=since), TAKEOVER, "a write")
    took = time.monotonic() - began
    await other.converged("web", seconds=120)
    return took


@pytest.mark.slow
@pytest.mark.vital
@pytest.mark.timeout(600)
async def test_a_frozen_leader_is_replaced_and_writes_nothing_more(user, cloud):
    """SIGSTOP, as a hung machine: the other one goes on within a minute, and the frozen one that
    comes back sends no write and says who leads.
    """
    first = daemon(user, "first")
    await first.converged("web")
    second = daemon(user, "second")
    await second.until(lambda: second.condition("web", "Ready")["status"] == "True", 30.0)
    first.process.send_signal(signal.SIGSTOP)
    since = len(cloud.journal())
    save(user, "green")
    await taken_over(second, cloud, since)
    second.process.send_signal(signal.SIGSTOP)
    since = len(cloud.journal())
    save(user, "blue")
    first.process.send_signal(signal.SIGCONT)
    await first.until(lambda: first.condition("web", "Synced")["reason"] == "NotLeader", 15.0)
    who = f"host {socket.gethostname()} (process "
    await first.until(lambda: who in first.condition("web", "Synced")["message"], what=who)
    assert cloud.writes(since=since) == []
    second.process.send_signal(signal.SIGCONT)
    await second.until(lambda: cloud.writes(since=since), TAKEOVER, "a write of either")


@pytest.mark.slow
@pytest.mark.vital
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
async def test_a_leader_that_ends_is_replaced(user, cloud, how):
    """Killed, its lease runs out; terminated, it gives the lease up and the other goes on
    at once.
    """
    first = daemon(user, "first")
    await first.converged("web")
    second = daemon(user, "second")
    await second.until(lambda: second.condition("web", "Ready")["status"] == "True", 30.0)
    first.process.send_signal(how)
    first.process.wait(20)
    since = len(cloud.journal())
    save(user, "green")
    took = await taken_over(second, cloud, since)
    assert took < (TAKEOVER if how is signal.SIGKILL else TAKEOVER / 3)
