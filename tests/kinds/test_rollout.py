"""Rollouts are decided by a pure function: whole rollouts are played against a model of what Azure
does with each step.
"""

import pytest

from reconciler.api.outputs import Revision
from reconciler.kinds.service.hold import LONGEST, Hold
from reconciler.kinds.service.rollout import Action, Verdict, next_step


def revision(
    name, *, active=True, weight=0, health="Healthy", running="Running", replicas=1, error=None
):
    return Revision(name, active, weight, health, running, replicas, error)


CASES = [
    ("nothing yet", [], {}, "Surge", Action.WRITE, "the revision has to be made"),
    (
        "inactive",
        [revision("new", active=False)],
        {},
        "Surge",
        Action.ACTIVATE,
        "a rollback is an activation, not a new revision",
    ),
    (
        "starting",
        [revision("new", health="None", running="Activating")],
        {"new": 100},
        "Surge",
        Action.WAIT,
        "it must prove healthy",
    ),
    (
        "serving",
        [revision("new", weight=100)],
        {"new": 100},
        "Surge",
        Action.NONE,
        "nothing is left to do",
    ),
    (
        "healthy",
        [revision("old"), revision("new")],
        {"old": 100},
        "Surge",
        Action.SHIFT,
        "the weight moves once it is healthy",
    ),
    (
        "shifted",
        [revision("old"), revision("new")],
        {"new": 100},
        "Surge",
        Action.DEACTIVATE,
        "the old one goes last",
    ),
    (
        "failed",
        [revision("old"), revision("new", health="Unhealthy")],
        {"old": 100},
        "Surge",
        Action.WAIT,
        "the old one keeps serving",
    ),
    (
        "gap",
        [revision("old")],
        {"old": 100},
        "Recreate",
        Action.DEACTIVATE,
        "Recreate frees the GPU first",
    ),
    (
        "step",
        [revision("old"), revision("new")],
        {"old": 100},
        "BlueGreen",
        Action.SHIFT,
        "BlueGreen moves in steps",
    ),
    (
        "asleep",
        [revision("new", running="ScaledToZero", replicas=0)],
        {"new": 100},
        "Surge",
        Action.NONE,
        "zero replicas are healthy",
    ),
]


@pytest.mark.parametrize(
    ("revisions", "weights", "strategy", "expected", "reason"),
    [c[1:] for c in CASES],
    ids=[c[0] for c in CASES],
)
def test_each_situation_has_one_next_step(revisions, weights, strategy, expected, reason):
    """The next write follows from what is there alone."""
    assert next_step("new", strategy, revisions, weights).action is expected, reason


@pytest.mark.parametrize("strategy", ["Surge", "Recreate", "BlueGreen"])
def test_a_rollout_ends_with_the_new_revision_alone(strategy):
    """Played to its end, every strategy leaves the wanted revision with all traffic and nothing
    else active.
    """
    state, weights, gap = {"old": revision("old", weight=100)}, {"old": 100}, False
    for _ in range(20):
        step = next_step("new", strategy, list(state.values()), weights)
        if step.action is Action.NONE:
            break
        if step.action in (Action.WRITE, Action.ACTIVATE):
            state["new"] = revision("new")
        elif step.action is Action.SHIFT:
            weights = dict(step.weights)
        elif step.action is Action.DEACTIVATE:
            state[step.revisions[0]] = revision(step.revisions[0], active=False)
        serving = sum(
            weight for name, weight in weights.items() if name in state and state[name].serving
        )
        gap = gap or serving < 100
        assert sum(weights.values()) == 100

    assert weights == {"new": 100}
    assert [name for name, each in state.items() if each.active] == ["new"]
    assert gap is (strategy == "Recreate")


def test_blue_green_takes_steps():
    """Traffic goes over in 10, 50 and 100 percent."""
    shares, weights = [], {"old": 100}
    while weights.get("new") != 100:
        weights = dict(
            next_step("new", "BlueGreen", [revision("old"), revision("new")], weights).weights
        )
        shares.append(weights["new"])
    assert shares == [10, 50, 100]


FAILED = Verdict(failed="it crashes")
HELD = Hold("new", "old")
BACKWARD = [
    ("decided", [revision("old"), revision("new", health="Unhealthy")], {"old": 100}, FAILED, None,
     Action.HOLD, ("new", "old"), "the decision is kept before anything is done"),
    ("in the gap", [revision("old", active=False), revision("new", health="Unhealthy")],
     {"old": 100}, FAILED, None, Action.HOLD, ("new", "old"), "the traffic names the last good one"),
    ("first version", [revision("new", health="Unhealthy")], {"new": 100}, FAILED, None,
     Action.WAIT, ("new",), "there is nothing to go back to"),
    ("both bad", [revision("old", health="Unhealthy"), revision("new", health="Unhealthy")],
     {"old": 100}, FAILED, None, Action.WAIT, ("new",), "the old one never served"),
    ("mute", [revision("old"), revision("new")], {"old": 100}, Verdict(answered=False), None,
     Action.WAIT, ("new",), "no traffic before the smoke request"),
    ("half way", [revision("old"), revision("new")], {"old": 90, "new": 10}, None, HELD,
     Action.SHIFT, ("old",), "the traffic goes first"),
    ("one GPU", [revision("old", active=False), revision("new")], {"old": 100}, None, HELD,
     Action.DEACTIVATE, ("new",), "the failed one gives its GPU back"),
    ("then", [revision("old", active=False), revision("new", active=False)], {"old": 100}, None,
     HELD, Action.ACTIVATE, ("old",), "the old one boots again"),
    ("done", [revision("old"), revision("new", active=False)], {"old": 100}, None, HELD,
     Action.NONE, (), "the decision stands"),
    ("dropped", [revision("new", active=False)], {"new": 100}, None, HELD,
     Action.ACTIVATE, ("new",), "Azure has dropped what was kept"),
    ("other hold", [revision("new")], {"new": 100}, None, Hold("newer", "new"),
     Action.RELEASE, ("newer",), "the document asks for something else"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("revisions", "weights", "verdict", "hold", "expected", "objects", "reason"),
    [c[1:] for c in BACKWARD],
    ids=[c[0] for c in BACKWARD],
)
def test_each_situation_has_one_step_back(
    revisions, weights, verdict, hold, expected, objects, reason
):
    """A rollback follows from what is there, too."""
    step = next_step("new", "Surge", revisions, weights, verdict, hold)
    assert (step.action, step.revisions) == (expected, objects), reason


@pytest.mark.parametrize(
    "cause",
    ["", "GET / answers 500", "one\nline  only", "ä" * 400],
    ids=["no", "one", "two", "long"],
)
def test_the_decision_fits_into_a_tag(cause):
    """What is read from the tag is what was written, its cause on one line and cut if need be."""
    text = Hold("web--r2", "web--r1", cause).text
    found = Hold.on({"name": "web", "tags": {"Moorage-Held": text}})
    assert len(text) <= LONGEST
    assert (found.refused, found.serves) == ("web--r2", "web--r1")
    assert found.cause == (" ".join(cause.split()) if len(cause) < 200 else text[6:])


@pytest.mark.parametrize("text", ["", "r2", " ", "r2 "])
def test_a_tag_that_says_nothing_holds_nothing(text):
    """Whoever edits the tag by hand stops no rollout."""
    assert Hold.on({"name": "web", "tags": {"moorage-held": text}}) is None
