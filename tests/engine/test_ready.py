"""Ready says whether requests are answered, and is never better than what it stands for;
Progressing and Synced say the rest.
"""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.engine.external import Identity, Mark
from reconciler.engine.ledger import Ledger
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.result import Pacing
from reconciler.engine.statements import OWN, STANDS_FOR
from reconciler.engine.store import MEMORY, Store
from reconciler.engine.summary import Summary
from tests.engine.conftest import DOC, VirtualClock, key, state, thing

_PARTS = [kind for kind in ConditionType if kind not in OWN]
_MARKS = st.lists(
    st.builds(
        Mark, st.sampled_from(_PARTS), st.sampled_from(Status), st.sampled_from(Reason), st.text()
    ),
    max_size=4,
)


class StillClock(VirtualClock):
    def elapsed(self):
        return 1000.0


def ready_with(objects):
    """The conditions of a document whose objects are ready and have these marks."""
    ledger = Ledger(
        Store.open(MEMORY, "test"), StillClock(), lambda item: Identity(item.key, "/things")
    )
    items = [thing(f"t{number}") for number in range(len(objects))]
    ledger.replace(items, [state()], complete=True, purge=False)
    for item, marks in zip(items, objects, strict=True):
        ledger.pending.discard(item.key)
        record = ObjectRecord(
            item.key,
            DOC,
            exists=True,
            usable=True,
            synced=True,
            phase=Phase.READY,
            reason=Reason.IN_SYNC,
            marks=tuple(marks),
            seen=1000.0,
            fingerprint=item.fingerprint,
        )
        ledger.write(record)
    summary = Summary(ledger, Pacing())
    list(summary.update(DOC))
    return summary.conditions(DOC)


@settings(max_examples=200, deadline=None)
@given(objects=st.lists(_MARKS, min_size=1, max_size=3))
def test_ready_is_never_better_than_what_it_stands_for(objects):
    """Whatever several objects say, Ready is True only if every condition of the table is True or
    has one of the reasons written beside it, and it is False where one of them is.
    """
    conditions = ready_with(objects)
    ready = conditions.get(ConditionType.READY)
    broken = [
        condition
        for condition in conditions
        if condition.type in STANDS_FOR
        and condition.status is not Status.TRUE
        and condition.reason not in STANDS_FOR[condition.type]
    ]
    assert (ready.status is Status.TRUE) == (not broken)
    if any(condition.status is Status.FALSE for condition in broken):
        assert ready.status is Status.FALSE
    if broken:
        assert (ready.reason, ready.message) in [(each.reason, each.message) for each in broken]


@pytest.mark.parametrize("kind", STANDS_FOR)
@pytest.mark.parametrize("status", [Status.FALSE, Status.UNKNOWN])
def test_each_condition_of_the_table_counts(kind, status):
    """One of them is enough."""
    conditions = ready_with([[Mark(kind, status, Reason.UNREACHABLE, "gone")]])
    assert conditions.get(ConditionType.READY).status is status


async def test_the_old_one_serves_while_the_new_one_comes_up(harness):
    """Ready stays True without an event; Progressing and Synced say what is under way."""
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        harness.kind.observation["app"] = {
            "ready": False, "serves": True, "reason": Reason.STARTING, "message": "reads the model",
        }  # fmt: skip
        controller.trigger([key("app")])
        await asyncio.sleep(1)
        assert harness.condition(controller, "Ready")[0] == "True"
        assert harness.condition(controller, "Progressing") == ("True", "Starting")
        assert harness.condition(controller, "Synced") == ("False", "Starting")
        assert controller.converged() is None
    assert Reason.NOT_READY not in harness.reasons(controller)


@pytest.mark.looptime
async def test_a_failure_behind_one_that_serves_is_told_once(harness):
    """A warning with the cause, Progressing False, Ready True: and no second event for the same."""
    async with harness.running(harness.thing("app", size=1)) as controller:
        await controller.settled()
        harness.kind.observation["app"] = {
            "ready": False, "serves": True, "reason": Reason.REVISION_FAILED,
            "message": "revision app--two: ImagePullFailure. app--one still serves",
        }  # fmt: skip
        controller.trigger([key("app")])
        await asyncio.sleep(30)
        assert harness.condition(controller, "Ready")[0] == "True"
        assert harness.condition(controller, "Progressing") == ("False", "RevisionFailed")
        assert harness.condition(controller, "Synced") == ("False", "RevisionFailed")
        told = [e for e in controller.events() if e.reason is Reason.REVISION_FAILED]
    assert [(e.type, e.count) for e in told] == [("Warning", 1)]
    assert "app--one still serves" in told[0].message
