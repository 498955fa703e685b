"""Durations do not follow the machine's clock when somebody sets it, and outlive a restart."""

from __future__ import annotations

import ast
import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

import reconciler
from reconciler.api.reasons import Reason
from reconciler.engine.clock import SystemClock, with_suspend
from reconciler.engine.events import normal

pytestmark = pytest.mark.looptime
HOUR = timedelta(hours=1).total_seconds()
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
# Times that a person reads, or that Azure and a share wrote and a person compares with.
DISPLAYED = {
    "engine/clock.py": "the one place that asks for the time of day",
    "engine/store.py": "the time that a loaded condition would be marked with",
    "arm/server_time.py": "until Azure has answered for the first time",
    "daemon.py": "the time of an event",
    "cli/approve.py": "a text unlike the one before",
    "cli/take_over.py": "the same",
    "arm/ownership.py": "the time of a write, in a tag for people",
    "cli/adapter_versions.py": "the time of an order",
    "cli/notify.py": "the time of a message",
    "edges/notify.py": "the same",
    "cli/pause.py": "the time of an order",
    "cli/promote.py": "the same",
    "cli/rollback.py": "the same",
    "cli/usage.py": "the day that an age in days is counted from",
    "cli/key.py": "the time of an order",
    "cli/restart.py": "the same",
    "page.py": "the same, given on the page",
    "cli/output/ages.py": "an age, for people",
    "cli/events.py": "the same",
    "cli/logs.py": "the line to begin with, which people say as an age",
}


@JUMPS
async def test_a_jump_of_the_clock_neither_hastens_nor_holds_up_a_deletion(harness, jump):
    """What no document asks for goes after its delay, whatever the machine's clock says."""
    documents = [harness.state(scope="dev", prune=True)]
    thing = harness.thing("app")
    async with harness.running(thing, documents=documents) as controller:
        await controller.settled()
        controller.set_desired([], documents)
        await asyncio.sleep(3)
        harness.clock.wall += jump
        controller.trigger()
        await asyncio.sleep(20)
        assert harness.cloud.writes() == ["create"]
        await asyncio.sleep(10)
        assert harness.cloud.writes() == ["create", "delete"]


@JUMPS
async def test_a_jump_of_the_clock_holds_up_no_write(harness, jump):
    """The pauses between writes that do not settle a difference are as long as ever."""
    harness.kind.sticks = False
    async with harness.running(harness.thing("app", size=1)):
        await asyncio.sleep(1)
        before = len(harness.cloud.writes())
        harness.clock.wall += jump
        await asyncio.sleep(15)
        assert len(harness.cloud.writes()) == 3 > before


@JUMPS
async def test_a_jump_of_the_clock_changes_no_poll_and_no_blindness(harness, jump):
    """An operation is asked about at its own pace, and a status does not turn Unknown."""
    harness.kind.polls = 20
    async with harness.running(harness.thing("app", size=1)):
        await asyncio.sleep(2)
        polls = len(harness.cloud.calls)
        harness.clock.wall += jump
        await asyncio.sleep(10)
        assert 9 <= len(harness.cloud.calls) - polls <= 11


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
async def test_a_deletion_delay_outlives_a_restart(harness, boot):
    """In the same boot a new daemon goes on counting; after a restart of the machine it begins
    again, because nobody knows how long that took.
    """
    documents = (harness.state(scope="dev", prune=True),)
    async with harness.running(harness.thing("app"), documents=documents) as controller:
        await controller.settled()
        controller.set_desired([], documents)
        await asyncio.sleep(20)
    harness.clock.boot = boot
    async with harness.running(documents=documents):
        await asyncio.sleep(15)
        assert ("delete" in harness.cloud.writes()) is (boot == "boot-1")
        await asyncio.sleep(20)
        assert harness.cloud.writes() == ["create", "delete"]


async def test_events_keep_their_order_when_the_clock_is_set_back(harness):
    """The newest event is the last, and the oldest is forgotten first."""
    for number, at in enumerate([HOUR, 0.0, 1.0]):
        event = normal(Reason.READY, str(number), harness.key("app"), harness.DOC)
        harness.store.add_event(event, at)
    harness.store.add_event(normal(Reason.READY, "0", harness.key("app"), harness.DOC), 2.0)
    assert [event.message for event in harness.store.events()] == ["1", "2", "0"]
    assert [event.message for event in harness.store.events(limit=1)] == ["0"]


def test_the_machines_clocks_go_forward():
    """Both count up, and the boot is the same for all of this process."""
    clock = SystemClock()
    assert clock.elapsed() <= clock.elapsed()
    assert with_suspend() >= clock.elapsed() - 1
    assert clock.boot == SystemClock().boot != ""


def test_nobody_else_asks_for_the_time_of_day():
    """Durations come from `engine.clock` or a monotonic clock: every other use of the time of day
    is listed above with what it is good for.
    """
    root = Path(reconciler.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in {"time.time", "datetime.now", "datetime.utcnow", "date.today"}
    }
    assert found == DISPLAYED.keys()
