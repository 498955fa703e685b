"""An order for a document that is paused is kept, and whoever gives it hears what it waits for."""

import json
import time

import pytest

from reconciler.api.outputs import AppOutputs, ArmView, CatalogueOutputs, Revision
from reconciler.cli.app import run
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import Store
from reconciler.settings import place_of
from reconciler.sources.decisions import caller
from reconciler.sources.pauses import end_pause, order_pause, pause_of

PHI = DocumentRef("InferenceService", "phi")
APP = AppOutputs(
    asked_revision="phi--two",
    arm=ArmView(
        tuple(
            Revision(f"phi--{name}", True, weight, "Healthy", "Running", 1)
            for name, weight in (("one", 90), ("two", 10))
        )
    ),
)
ADAPTER = {"name": "sales", "digest": "1" * 64, "asked": "words", "source": "./one"}
CANARY = {
    "canary": {"digest": "2" * 64, "weight": 10},
    "documentCanary": {"digest": "2" * 64, "source": "./two"},
}
CATALOGUE = {"engine": "e", "epoch": 1, "generation": 1, "adapters": [{**ADAPTER, **CANARY}]}
ORDERS = [
    ("promote", "phi"),
    ("rollback", "phi"),
    ("adapter", "promote", "phi", "sales"),
    ("adapter", "rollback", "phi", "sales"),
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """As a daemon leaves it in the middle of a rollout, with the document paused since."""
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("MOORAGE_TARGET", raising=False)
    folder, key, _ = place_of(target=None, state_dir=tmp_path)
    folder.mkdir(parents=True)
    store = Store.open(folder / "state.db", key)
    store.put_document(PHI, 1, "dev", prune=False)
    for kind, outputs in (
        ("ContainerApp", APP),
        ("AdapterCatalogue", CatalogueOutputs.load(CATALOGUE)),
    ):
        of = ObjectKey(kind, "phi")
        store.put_object(ObjectRecord(of, PHI, Phase.READY, outputs=outputs.dump(), exists=True))
    order_pause(store, PHI, time.time())
    yield store
    store.close()


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_whoever_orders_hears_that_the_document_is_paused(store, order, capsys):
    """In words, and beside the JSON; and nothing of it when it is not."""
    assert run(order) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "is paused: nothing is written for it before `moorage resume phi`" in said
    assert "the daemon acts on it once the document is resumed" in said
    assert run((*order, "-o", "json")) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["kind"] == "Order"
    assert "moorage resume phi" in printed.err
    end_pause(store, PHI, time.time())
    assert run(order) == 0
    assert "paused" not in capsys.readouterr().out


def test_a_pause_and_its_end_say_who_and_when(store, capsys):
    """One event each, also if the command is repeated; the status names the person."""
    end_pause(store, PHI, time.time())
    before = len(store.events())
    for command in (["pause", "phi"], ["pause", "phi"], ["status"], ["resume", "phi"]):
        assert run(command) == 0
    told = [event.message for event in store.events()[before:]]
    assert told == [f"{caller()} paused it", f"{caller()} resumed it"]
    assert f"paused: phi (by {caller()})" in capsys.readouterr().out
    assert run(["resume", "phi"]) == 1
    assert len(store.events()) == before + 2


def test_a_pause_of_an_earlier_release_has_no_name(store):
    """It was kept as a time alone."""
    store.put(f"paused {PHI}", "12.5")
    assert pause_of(store, PHI) == (12.5, "somebody")


@pytest.mark.parametrize("order", ["pause", "resume", "reconcile"])
def test_without_a_daemon_the_order_says_who_acts(store, order, capsys):
    """Nothing is said to happen now, and the pause is named."""
    assert run([order, "phi"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("No daemon runs now" in said) == (order != "pause")
    assert ("is paused: nothing is written for it" in said) == (order != "resume")
