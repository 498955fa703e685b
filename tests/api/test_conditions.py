"""Conditions: one writer, honest times, documented words."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.api.conditions import ConditionSet, ConditionType, Status
from reconciler.api.reasons import Reason

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_time_moves_only_when_the_status_changes(clock):
    """A new reason or message is a change to write, but not a transition."""
    conditions = ConditionSet(clock)
    assert conditions.mark(ConditionType.READY, Status.FALSE, Reason.STARTING, generation=1)
    clock.now += timedelta(minutes=1)
    assert conditions.mark(
        ConditionType.READY, Status.FALSE, Reason.LOADING, "reading weights", generation=1
    )
    assert conditions.get(ConditionType.READY).last_transition_time == START
    assert conditions.mark(ConditionType.READY, Status.TRUE, Reason.ALL_GOOD, generation=1)
    assert conditions.get(ConditionType.READY).last_transition_time == START + timedelta(minutes=1)


def test_saying_the_same_again_is_no_change(clock):
    """A status that says what it said before needs no write, however late it is."""
    conditions = ConditionSet(clock)
    conditions.mark(ConditionType.SYNCED, Status.TRUE, Reason.IN_SYNC, generation=3)
    clock.now += timedelta(hours=1)
    assert not conditions.mark(ConditionType.SYNCED, Status.TRUE, Reason.IN_SYNC, generation=3)
    assert conditions.mark(ConditionType.SYNCED, Status.TRUE, Reason.IN_SYNC, generation=4)


def test_dump_is_the_documented_shape_and_reads_back(clock):
    """The JSON of a condition has Kubernetes' field names, and a restarted daemon continues from
    it.
    """
    conditions = ConditionSet(clock)
    conditions.mark(
        ConditionType.DRIFTED, Status.UNKNOWN, Reason.NOT_OBSERVED, "not yet", generation=2
    )
    dumped = conditions.dump()
    assert dumped == [
        {
            "type": ConditionType.DRIFTED,
            "status": "Unknown",
            "reason": "NotObserved",
            "message": "not yet",
            "observedGeneration": 2,
            "lastTransitionTime": "2026-11-22T12:00:00Z",
        }
    ]
    again = ConditionSet.load(clock, [*dumped, {"type": "FromTheFuture"}])
    assert again.dump() == dumped
    assert not again.mark(
        ConditionType.DRIFTED, Status.UNKNOWN, Reason.NOT_OBSERVED, "not yet", generation=2
    )


def test_order_is_fixed_and_summary_first(clock):
    """Whatever is marked first, the summary is listed first."""
    conditions = ConditionSet(clock)
    for kind in reversed(list(ConditionType)):
        conditions.mark(kind, Status.TRUE, Reason.ALL_GOOD, generation=1)
    assert [c.type for c in conditions] == list(ConditionType)
    assert conditions.drop(ConditionType.DRIFTED)
    assert not conditions.drop(ConditionType.DRIFTED)
    assert conditions.get(ConditionType.READY).status is Status.TRUE
    assert conditions.get(ConditionType.DRIFTED) is None


def test_every_type_is_documented_and_nothing_else_is():
    """docs/conditions.md explains exactly the types there are."""
    text = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text()
    section = text.partition("## Types")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(ConditionType)
