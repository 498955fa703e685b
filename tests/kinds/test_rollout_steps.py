"""A rollout in steps: which weight is due, what it waits for, and what the tag remembers of it."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.api.resources import RolloutStep
from reconciler.kinds.service.rollout_steps import RolloutSteps, StepReached, noted

NEW = "web--r2"
NOW = datetime(2026, 11, 29, 12, 0, 30, tzinfo=UTC)
STEPS = (RolloutStep(10, 60), RolloutStep(40, None), RolloutStep(70))


def since(weight, seconds, revision=NEW):
    return StepReached(revision, weight, NOW - timedelta(seconds=seconds))


CASES = [
    ("first", 0, {}, (10, ""), "the first step"),
    ("pauses", 10, {"position": since(10, 30)}, (10, "until 12:01:00"), "half a minute is left"),
    ("over", 10, {"position": since(10, 60)}, (40, ""), "the pause is over"),
    ("no tag", 10, {}, (10, ""), "nobody knows since when: noted now"),
    ("moved", 30, {"position": since(10, 90)}, (10, ""), "somebody else's weight is put back"),
    ("person", 40, {}, (40, "`moorage promote`"), "a person ends this pause"),
    ("promoted", 40, {"promoted": 40}, (70, ""), "a person has"),
    ("earlier", 40, {"promoted": 10}, (40, "`moorage promote`"), "that was the step before"),
    ("not yet", 40, {"unmet": "2 prompts"}, (40, "2 prompts"), "a person is asked when it is met"),
    ("no way round", 40, {"promoted": 40, "unmet": "2 prompts"}, (40, "2 prompts"),
     "a promotion ends the pause alone"),
    ("full skips", 40, {"promoted": 100, "unmet": "2 prompts"}, (100, ""), "all of it"),
    ("skips", 10, {"position": since(10, 1), "promoted": 10}, (40, ""), "no rest of the pause"),
    ("full", 10, {"position": since(10, 1), "promoted": 100}, (100, ""), "no step is left"),
    ("last", 70, {}, (100, ""), "no pause, no evaluation"),
    ("asked", 10, {"position": since(10, 90), "unmet": "2 prompts"}, (10, "2 prompts"),
     "its prompts are not all answered"),
    ("another's", 10, {"position": since(40, 90, "web--r1")}, (10, ""), "the tag of another one"),
    ("edited", 25, {}, (40, ""), "the steps were edited meanwhile: the next larger one"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("weight", "known", "due", "reason"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_each_moment_has_one_weight(weight, known, due, reason):
    """The weight that is due, and what holds the rollout at it."""
    step = RolloutSteps(STEPS, now=NOW, **known).due(NEW, weight)
    assert step.weight == due[0], reason
    assert due[1] in step.stays, reason
    assert bool(due[1]) is bool(step.stays), reason


def test_a_pause_without_its_beginning_is_noted_first():
    """The weight is written once more, with the tag."""
    assert not RolloutSteps(STEPS, now=NOW).due(NEW, 10).noted
    assert RolloutSteps(STEPS, position=since(10, 5), now=NOW).due(NEW, 10).noted


def test_the_tag_remembers_the_step():
    """What is written with the traffic is read again; the last move takes it away."""
    tags = noted({"team": "a"}, {"web--r1": 90, NEW: 10}, NEW, NOW)
    assert StepReached.on({"name": "web", "tags": tags}) == since(10, 0)
    after = noted({k.title(): v for k, v in tags.items()}, {NEW: 100}, NEW, NOW)
    assert after == {"Team": "a", "Moorage-Step": None}
    assert noted({"team": "a"}, {NEW: 100}, NEW, NOW) == {}, "nothing to take away"


@pytest.mark.parametrize("text", ["", "r2", "r2 ten 2026-11-29T12:00:00", "r2 10 noon", "r2 10 "])
def test_a_tag_that_says_nothing_is_no_position(text):
    """Whoever edits the tag by hand stops no rollout."""
    assert StepReached.on({"name": "web", "tags": {"moorage-step": text}}) is None
