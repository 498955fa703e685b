"""The generations of a service: revisions and adapters together, under numbers that stay."""

from dataclasses import replace

import pytest

from reconciler.api.outputs import (
    AppOutputs,
    ArmView,
    CatalogueOutputs,
    KeptAdapter,
    KeptAdapters,
    Revision,
)
from reconciler.api.resources import Return
from reconciler.engine.store import Store
from reconciler.web.generations import History, note, notes_of, refused


def at(minute, second=0):
    return f"2026-01-01T10:{minute:02}:{second:02}+00:00"


def revision(name, minute, weight=0):
    healthy = ("Healthy", "Running")
    return Revision(name, True, weight, *healthy, 1, None, at(minute))


def kept(number, minute, engine, back_to=None, serves=None, **adapters):
    versions = tuple(KeptAdapter(name, digest) for name, digest in adapters.items())
    return KeptAdapters(number, at(minute), engine, versions, back_to, serves)


def history(revisions, sets, asked="phi--r2", *, app_held=None, held=False):
    app = AppOutputs(arm=ArmView(tuple(revisions)), asked_revision=asked, held=app_held)
    return History(app, CatalogueOutputs("e2", 1, 1, (), "words", tuple(sets), held))


R1, R2 = revision("phi--r1", 1), revision("phi--r2", 20, 100)
SETS = (
    kept(1, 0, "e1", red="1111"),
    kept(2, 10, "e1", red="2222"),
    kept(3, 19, "e2", red="2222"),
    kept(4, 30, "e2", red="3333"),
)


def test_a_new_revision_and_other_adapters_are_a_generation_each():
    """Adapters of a new engine are none before the revision that serves them; each row says what it
    changed.
    """
    rows = history([R1, R2], SETS).rows
    assert [(each.number, each.revision, each.versions) for each in rows] == [
        (5, "phi--r2", ("red 3333",)),
        (4, "phi--r2", ("red 2222",)),
        (2, "phi--r1", ("red 2222",)),
        (1, "phi--r1", ("red 1111",)),
    ]
    assert rows[0].state == "100 % of the traffic, the document asks for it"
    assert rows[0].changes == ("adapters[red]",)
    assert [each.state for each in rows[1:]] == ["", "", ""]


def test_numbers_stay_when_old_adapters_are_forgotten():
    """The share keeps the newest sets under their numbers."""
    rows = history([R1, R2], SETS[2:]).rows
    assert [each.number for each in rows][:2] == [5, 4]


@pytest.mark.parametrize(
    ("number", "order", "reason"),
    [
        (5, Return(), "the document asks for it"),
        (4, Return("", "", 3, "words"), "the revision stays, the adapters go back"),
        (2, Return("phi--r2", "phi--r1", 2, "words"), "both go back, to the engine of then"),
        (1, Return("phi--r2", "phi--r1", 1, "words"), "both go back"),
    ],
)
def test_an_order_names_only_what_moves(number, order, reason):
    """A part that stays as the document asks is left out."""
    found = history([R1, R2], SETS)
    row = next(each for each in found.rows if each.number == number)
    assert found.decision(row) == order, reason
    assert (row in found.older) == (order != Return())


def test_what_a_person_went_back_to_is_the_newest_generation():
    """It says which revision serves, and the document's own is held."""
    sets = (*SETS, kept(5, 40, "e1", back_to=1, serves="phi--r1", red="1111"))
    serving = [revision("phi--r1", 1, 100), revision("phi--r2", 20)]
    found = history(serving, sets, app_held="`moorage rollback` asked for it", held=True)
    assert [(each.number, each.revision, each.state) for each in found.rows][:2] == [
        (6, "phi--r1", "100 % of the traffic"),
        (5, "phi--r2", "the document asks for it, held"),
    ]
    assert found.held


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (revision("phi--r2", 20, 100), "phi--r2 has 100 % of the traffic until another revision"),
        (revision("phi--r2", 20), "phi--r2 does not serve: "),
        (replace(revision("phi--r2", 20, 100), health="Unhealthy"), "phi--r2 does not serve: "),
    ],
    ids=["until another one can", "refused", "fails"],
)
def test_what_the_refused_revision_does_is_said_as_it_is(asked, said):
    """A rollback to a revision that is still starting takes no traffic from the other one."""
    app = AppOutputs(arm=ArmView((R1, asked)), asked_revision="phi--r2", held="it was asked for")
    assert History(app).held.startswith(said)


@pytest.mark.parametrize(
    ("running", "health", "state"),
    [("Failed", "Unhealthy", "failed"), ("ActivationFailed", "None", "failed"),
     ("Stopped", "Healthy", "")],
)  # fmt: skip
def test_a_revision_that_failed_says_so_also_when_it_is_inactive(running, health, state):
    """Otherwise nothing tells it from one to which a person can go back."""
    failed = replace(R1, active=False, running=running, health=health)
    row = History(AppOutputs(arm=ArmView((failed, R2)), asked_revision="phi--r2")).rows[1]
    assert (row.state, row.failed) == (state, bool(state))


def test_a_service_without_a_model_counts_its_revisions():
    """As ever: there are no adapters to tell of."""
    app = AppOutputs(arm=ArmView((R1, R2)), asked_revision="phi--r2")
    rows = History(app).rows
    assert [(each.number, each.versions) for each in rows] == [(2, ()), (1, ())]
    assert "adapters" not in rows[0].as_value()


def test_an_attempt_that_azure_refused_stands_between_the_generations():
    """Where it was made, with its cause; one that became a revision after all is a generation only,
    and one that is under way is none yet.
    """
    store = Store.open(":memory:", "local")
    for name, minute in (("phi--r1", 1), ("phi--bad", 10), ("phi--r2", 20), ("phi--new", 30)):
        note(store, "phi", name, ["template.containers[vllm].image"], at=at(minute))
    for name, problem in (
        ("phi--bad", "first"),
        ("phi--bad", "no such image"),
        ("phi--r2", "busy"),
    ):
        refused(store, "phi", name, problem)
    refused(store, "phi", "phi--other", "not asked for by this daemon")
    app = AppOutputs(arm=ArmView((R1, R2)), asked_revision="phi--new")
    found = History(app, None, notes_of(store, "phi"))
    assert [(each.number, each.revision) for each in found.listed] == [
        (2, "phi--r2"),
        (0, "phi--bad"),
        (1, "phi--r1"),
    ]
    (attempt,) = found.attempts
    assert attempt.as_value() == {
        "revision": "phi--bad",
        "time": at(10),
        "problem": "no such image",
        "changes": ["template.containers[vllm].image"],
    }
    assert attempt not in found.older


def test_a_revision_serves_while_adapters_for_the_next_one_are_published():
    """Azure has not made the revision of the new engine, and may refuse to."""
    found = history([R1, R2], [*SETS, kept(5, 40, "e3", red="3333")], asked="phi--r3")
    assert found.rows[0].state == "100 % of the traffic"
    assert [each.state for each in found.rows[1:]] == ["", "", ""]
