"""A rollout as a state machine: from any state that Azure can be in, and whatever the new revision
turns out to be, the steps come to an end, and the old good one serves until the new one is proven.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.outputs import Revision
from reconciler.api.resources import RolloutStep
from reconciler.kinds.service.hold import Hold
from reconciler.kinds.service.rollout import Action, Verdict, next_step
from reconciler.kinds.service.rollout_steps import RolloutSteps, StepReached, noted

STRATEGIES = st.sampled_from(["Surge", "Recreate", "BlueGreen"])
MOST = 30  # steps of any rollout and the rollback after it


class Azure:
    """What Azure does with each step: what is activated is healthy, but for `new` when it is
    `broken`, which fails a verdict.
    """

    def __init__(self, active, weights, *, broken, known):
        self.broken = broken
        self.active = dict.fromkeys(("old", *(["new"] if known else [])), False) | active
        self.weights, self.hold = weights, None
        self.gap = 0

    @property
    def revisions(self):
        return [self._view(name) for name in self.active]

    def _view(self, name):
        plain = Revision(
            name, self.active[name], self.weights.get(name, 0), "Healthy", "Running", 1
        )
        if name == "new" and self.broken:
            return replace(plain, health="Unhealthy", running="Failed")
        return plain

    def step(self, strategy):
        broken = self.broken and self.active.get("new")
        verdict = Verdict(failed="it crashes" if broken else "")
        return next_step("new", strategy, self.revisions, self.weights, verdict, self.hold)

    def take(self, step):
        match step.action:
            case Action.WRITE | Action.ACTIVATE:
                self.active[step.revisions[0]] = True
            case Action.DEACTIVATE:
                self.active[step.revisions[0]] = False
            case Action.SHIFT:
                assert sum(step.weights.values()) == 100
                self.weights = dict(step.weights)
            case Action.HOLD:
                self.hold = Hold(*step.revisions)
            case Action.RELEASE:
                self.hold = None


@st.composite
def states(draw, *, broken):
    """Any state that a daemon may find when it starts in the middle."""
    known = draw(st.booleans())
    active = {"old": draw(st.booleans())}
    if known:
        active["new"] = draw(st.booleans())
    share = draw(st.sampled_from([0, 10, 50])) if known else 0
    weights = {name: w for name, w in (("new", share), ("old", 100 - share)) if w}
    return Azure(active, weights, broken=broken, known=known)


@given(states(broken=False), STRATEGIES)
def test_a_good_revision_ends_alone_with_all_traffic(azure, strategy):
    """Whatever was there at the beginning, and in at most one gap where Recreate asks for it."""
    for _ in range(MOST):
        step = azure.step(strategy)
        if step.action is Action.NONE:
            break
        if step.action is Action.DEACTIVATE and strategy != "Recreate":
            assert azure.weights == {"new": 100}, "the old one stops only without traffic"
        azure.take(step)
    assert step.action is Action.NONE
    assert azure.weights == {"new": 100}
    assert azure.active == {"old": False, "new": True}


@given(states(broken=True), STRATEGIES)
def test_a_broken_revision_ends_off_and_the_old_one_serves(azure, strategy):
    """Whatever was there at the beginning: no step gives the broken one traffic, and at the end the
    old one has it all and runs.
    """
    for _ in range(MOST):
        step = azure.step(strategy)
        if step.action is Action.SHIFT:
            assert step.weights.get("new", 0) == 0, "no traffic for what is not proven"
        if step.action is Action.NONE:
            break
        azure.take(step)
    assert step.action is Action.NONE
    assert azure.weights == {"old": 100}
    assert azure.active == {"old": True, "new": False}
    assert azure.hold == Hold("new", "old")


@given(states(broken=True), STRATEGIES, st.booleans())
def test_another_version_ends_the_hold(azure, strategy, back):
    """Once the documents ask for something else (for a new version, or for the old one again), that
    is rolled out, and nothing remembers the refused one.
    """
    azure.hold = Hold("new", "old")
    wanted = "old" if back else "newer"
    for _ in range(MOST):
        step = next_step(wanted, strategy, azure.revisions, azure.weights, None, azure.hold)
        if step.action is Action.NONE:
            break
        azure.take(step)
    assert azure.hold is None
    assert azure.weights == {wanted: 100}


@st.composite
def courses(draw):
    """Steps with pauses of all kinds."""
    weights = sorted(draw(st.sets(st.integers(1, 99), min_size=1, max_size=4)))
    pause = st.sampled_from([0, 0, 30, 300, None])
    return tuple(RolloutStep(weight, draw(pause)) for weight in weights)


@settings(deadline=None)
@given(courses(), st.lists(st.sampled_from([20, 100]), min_size=1, max_size=5))
def test_steps_are_taken_in_order_and_each_lasts_as_long_as_it_should(steps, looks):
    """Nothing but the traffic and the tag is known from one look to the next, as for a daemon that
    is killed after each write, and looks come at any time.
    """
    azure = Azure({"old": True}, {"old": 100}, broken=False, known=False)
    now, labels, promoted, entered = datetime(2026, 11, 29, tzinfo=UTC), {}, 0, {}
    for turn in range(400):
        position = StepReached.on({"name": "new", "tags": labels})
        steps_left = RolloutSteps(steps, position, now, promoted)
        step = next_step(
            "new--r", "BlueGreen", azure.revisions, azure.weights, None, None, steps_left
        )
        if step.action is Action.NONE:
            break
        if step.action is Action.PAUSE and step.asks:
            promoted = azure.weights["new--r"]
        if step.action is Action.SHIFT:
            labels |= noted(labels, step.weights, "new--r", now)
            labels = {name: value for name, value in labels.items() if value is not None}
            entered.setdefault(step.weights["new--r"], now)
        azure.take(step)
        now += timedelta(seconds=looks[turn % len(looks)])
    assert step.action is Action.NONE
    assert azure.weights == {"new--r": 100}
    assert labels == {}, "no trace is left"
    assert list(entered) == [*(each.weight for each in steps), 100], "each once, in order"
    for each, after in zip(steps, [*(s.weight for s in steps[1:]), 100], strict=True):
        lasted = (entered[after] - entered[each.weight]).total_seconds()
        assert lasted >= (each.pause or 0)


@given(courses(), st.integers(1, 99))
def test_a_revision_that_fails_half_way_loses_all_traffic_at_once(steps, share):
    """Whatever the steps and the weight it has: the old one gets all of it back in one write."""
    azure = Azure({"old": True, "new": True}, {"new": share, "old": 100 - share},
                  broken=True, known=True)  # fmt: skip
    shifts = []
    for _ in range(MOST):
        verdict = Verdict(failed="it crashes" if azure.active["new"] else "")
        step = next_step("new", "BlueGreen", azure.revisions, azure.weights, verdict, azure.hold,
                         RolloutSteps(steps))  # fmt: skip
        if step.action is Action.NONE:
            break
        if step.action is Action.SHIFT:
            shifts.append(step.weights)
        azure.take(step)
    assert shifts == [{"old": 100}]
    assert azure.active == {"old": True, "new": False}
