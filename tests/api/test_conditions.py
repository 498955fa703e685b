"""Conditions: one writer, honest times, documented words."""

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.api.conditions import ConditionSet, ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.engine.errors import ReconcileError

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
    assert conditions.mark("Ready", False, Reason.STARTING, generation=1)
    clock.now += timedelta(minutes=1)
    assert conditions.mark("Ready", False, Reason.LOADING, "reading weights", generation=1)
    assert conditions.get("Ready").last_transition_time == START
    assert conditions.mark("Ready", True, Reason.ALL_GOOD, generation=1)
    assert conditions.get("Ready").last_transition_time == START + timedelta(minutes=1)


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
    conditions.mark("Drifted", "Unknown", Reason.NOT_OBSERVED, "not yet", generation=2)
    dumped = conditions.dump()
    assert dumped == [
        {
            "type": "Drifted",
            "status": "Unknown",
            "reason": "NotObserved",
            "message": "not yet",
            "observedGeneration": 2,
            "lastTransitionTime": "2026-11-22T12:00:00Z",
        }
    ]
    again = ConditionSet.load(clock, [*dumped, {"type": "FromTheFuture"}])
    assert again.dump() == dumped
    assert not again.mark("Drifted", Status.UNKNOWN, Reason.NOT_OBSERVED, "not yet", generation=2)


def test_order_is_fixed_and_summary_first(clock):
    """Whatever is marked first, the summary is listed first."""
    conditions = ConditionSet(clock)
    for kind in reversed(list(ConditionType)):
        conditions.mark(kind, True, Reason.ALL_GOOD, generation=1)
    assert [c.type for c in conditions] == list(ConditionType)
    assert conditions.drop("Drifted")
    assert not conditions.drop("Drifted")
    assert conditions.is_true("Ready")
    assert not conditions.is_true("Drifted")


def test_an_unknown_type_or_status_is_a_fault_of_the_caller(clock):
    """Conditions have a closed list of types; a typing slip must not become a new one."""
    with pytest.raises(ValueError):
        ConditionSet(clock).mark("Redy", True, Reason.ALL_GOOD, generation=1)
    with pytest.raises(ValueError):
        ConditionSet(clock).mark("Ready", "Maybe", Reason.ALL_GOOD, generation=1)


@pytest.mark.parametrize("words", [ConditionType, Reason])
def test_every_word_is_documented_and_nothing_else_is(words):
    """docs/conditions.md explains exactly the types and reasons there are."""
    text = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text()
    section = text.partition("## Types" if words is ConditionType else "## Reasons")[2].partition(
        "\n## "
    )[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [word.value for word in words]


def test_every_reason_written_in_the_reconciler_is_one_of_ours():
    """A word given to an error or a condition in our own code is on the list; only Azure's codes
    come from outside.
    """
    known = {reason.value for reason in Reason}
    unknown = {}
    for file in (Path(__file__).parents[2] / "reconciler").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            for word in _reasons_in(call):
                if word not in known:
                    unknown.setdefault(word, []).append(f"{file.name}:{call.lineno}")
    assert not unknown


def _reasons_in(call):
    """The reason in `SomeError("Reason", ...)`, `Mark(type, status, "Reason")` and the like."""
    if not isinstance(call, ast.Call):
        return
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    errors = {error.__name__ for error in (ReconcileError, *_descendants(ReconcileError))}
    candidates = [
        call.args[i]
        for names, i in ((errors, 0), ({"Mark", "mark"}, 2))
        if name in names and len(call.args) > i
    ]
    if name in errors | {"Mark", "mark", "Observation"}:
        candidates += [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
    yield from (each.value for each in candidates if isinstance(each, ast.Constant) and each.value)


def _descendants(error):
    for child in error.__subclasses__():
        yield child
        yield from _descendants(child)
