"""Azure's time, by the dates of its answers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from azure.storage.fileshare._shared import policies

from reconciler.arm import files
from reconciler.arm.lease import Leader
from reconciler.arm.server_time import ServerTime

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def watched():
    at = [100.0]
    return at, ServerTime(lambda: at[0])


def test_it_follows_azure_and_not_the_machine():
    """However wrong the machine's time of day is: between answers a monotonic clock carries on."""
    at, time = watched()
    time.saw(format_datetime(NOON, usegmt=True))
    at[0] += 90
    assert time.now() == NOON + timedelta(seconds=90)


def test_an_answer_that_was_long_under_way_changes_nothing():
    """The latest date is the closest; one a second behind is only rounded or late."""
    _, time = watched()
    time.saw(format_datetime(NOON, usegmt=True))
    time.saw(format_datetime(NOON - timedelta(seconds=1), usegmt=True))
    assert time.now() == NOON


def test_a_server_that_was_wrong_is_followed_back():
    """More than two seconds are no rounding."""
    _, time = watched()
    time.saw(format_datetime(NOON + timedelta(hours=1), usegmt=True))
    time.saw(format_datetime(NOON, usegmt=True))
    assert time.now() == NOON


def test_nonsense_is_no_date():
    """A proxy may send anything, or nothing; then the machine's time of day has to do."""
    _, time = watched()
    for text in (None, "", "yesterday"):
        time.saw(text)
    assert abs((time.now() - datetime.now(UTC)).total_seconds()) < 5


async def test_every_answer_tells_the_time(arm, scripted):
    """Those of Resource Manager come through the same session as those of shares."""
    scripted.on("GET", "/subscriptions/x", 200, {}, {"Date": format_datetime(NOON, usegmt=True)})
    await arm.get_json("/subscriptions/x", "2025-01-01")
    assert abs(arm.time.now() - NOON) < timedelta(seconds=5)


@pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])
async def test_a_machine_whose_clock_is_set_keeps_its_lease_and_its_share(
    share, monkeypatch, hours
):
    """Azure refuses a signature whose date is a quarter of an hour off; ours have Azure's date, with
    the SDK and without.
    """
    leader = Leader(share)
    await leader.step()
    machine, off = time.time, hours * 3600
    monkeypatch.setattr(time, "time", lambda: machine() + off)
    monkeypatch.setattr(policies, "time", lambda: machine() + off)
    before = leader._until
    await leader.step()
    assert (leader.why_not(), leader._until > before) == (None, True)
    await files.write(share, "a/b.txt", b"content")
    assert await files.read(share, "a/b.txt") == b"content"
    await files.delete(share, "a/b.txt")
