"""Each decision of a person leaves an event that says who made it."""

import pytest

from reconciler.api.reasons import Reason
from reconciler.api.resources import Order, Return
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import Store
from reconciler.sources.decisions import caller, listed
from reconciler.sources.orders import give_order, order_promotion, order_rollback

PHI = DocumentRef("InferenceService", "phi")


@pytest.mark.parametrize(
    ("decide", "said"),
    [
        (
            lambda store: order_rollback(store, "phi", Return("r2", "r1", 3, "x"), 5.0, "ann@desk"),
            "ann@desk rolled back to revision r1 and adapters of set 3",
        ),
        (
            lambda store: order_promotion(store, "phi", "r2", 20, 5.0, "ann@desk"),
            "ann@desk promoted revision r2 beyond 20 % of the traffic",
        ),
        (
            lambda store: give_order(
                store, "phi", "support", Order("promote", "d", 5.0), "ann@desk"
            ),
            "ann@desk promoted adapter support",
        ),
    ],
    ids=["rollback", "promotion", "adapter"],
)
def test_the_timeline_names_who_decided(decide, said):
    """With the time of the decision, at the document that it is about."""
    store = Store.open(":memory:", "local")
    decide(store)
    (event,) = store.events()
    assert (event.reason, event.message, event.document) == (Reason.DECIDED, said, PHI)
    assert event.last == 5.0


def test_a_command_names_its_user_and_machine(monkeypatch):
    """A container's user may have no name."""
    assert "@" in caller()
    monkeypatch.setattr("getpass.getuser", lambda: {}["nobody"])
    assert caller().startswith("somebody@")


def test_many_deeds_are_cut():
    """A deletion of a whole folder is still one line."""
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
