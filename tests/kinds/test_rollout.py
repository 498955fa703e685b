"""Rollouts are decided by a pure function: whole rollouts are played against a model of what Azure
does with each step.
"""

import pytest

from reconciler.api.outputs import Revision
from reconciler.kinds.rollout import Action, next_step


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
