"""`moorage adapter`: what it shows of the last look, what it refuses, and the order that it leaves
for the daemon.
"""

import json

import pytest

from reconciler.api.manifest import load
from reconciler.api.outputs import AppOutputs, CatalogueOutputs
from reconciler.cli.app import run
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import Store
from reconciler.settings import place_of
from reconciler.sources.orders import orders_of

DOCUMENT = DocumentRef("InferenceService", "phi")
CANARY = {
    "canary": {"digest": "2" * 64, "weight": 10},
    "documentCanary": {"digest": "2" * 64, "source": "./two"},
}
GOOD = {"lastGood": "0" * 64, "lastGoodPath": "adapters/sales/000000000000"}
MANIFEST = """
kind: InferenceService
metadata: {name: phi}
spec:
  model: {source: share://m}
  adapters: [{name: sales, source: share://one}, {name: support, source: share://two}]
"""


@pytest.fixture
def observed(tmp_path, monkeypatch):
    """Writes what a daemon would have seen of one adapter; gives the store's opener."""
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("MOORAGE_TARGET", raising=False)
    folder, key, _ = place_of(target=None, state_dir=tmp_path)
    folder.mkdir(parents=True)

    def see(*, held=None, answering=False, **adapter):
        row = {"name": "sales", "digest": "1" * 64, "asked": "words", "source": "./one", **adapter}
        if held:
            row["held"] = {
                "outcome": held,
                "message": "why",
                "at": "2026-01-01T00:00:00Z",
                "source": "./one",
            }
        canary = {"digest": "2" * 64, "state": "Loaded", "message": "", "requests": 40, "errors": 1}
        mine = {"name": "sales", "digest": "1" * 64, "desired": "1" * 64, "state": "Loaded"}
        mine["canary"] = canary if answering or "canary" in adapter else None
        replica = {"name": "r", "revision": "phi--1", "ready": True, "restarts": 0}
        catalogue = {"engine": "e", "epoch": 1, "generation": 1, "adapters": [row]}
        store = Store.open(folder / "state.db", key)
        for kind, outputs in (
            ("AdapterCatalogue", CatalogueOutputs.load(catalogue)),
            ("ContainerApp", AppOutputs.load({"replicas": [replica | {"adapters": [mine]}] * 2})),
        ):
            store.put_object(
                ObjectRecord(
                    ObjectKey(kind, "phi"),
                    DOCUMENT,
                    phase=Phase.READY,
                    exists=True,
                    usable=True,
                    outputs=outputs.dump(),
                )
            )
        store.close()

    see.orders = lambda: _orders(tmp_path, folder, key)
    return see


def _orders(tmp_path, folder, key):
    file = tmp_path / "m.yaml"
    file.write_text(MANIFEST)
    store = Store.open(folder / "state.db", key)
    try:
        return {
            name: order.action
            for (_, name), order in orders_of(load([file]).documents, store).items()
        }
    finally:
        store.close()


def test_a_canary_that_has_ended_is_listed_until_no_replica_answers_with_it(observed, capsys):
    """The catalogue names it no longer; the replicas have not read that yet."""
    observed(answering=True, held="RolledBack", **GOOD)
    assert run(["adapter", "list", "phi", "-o", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["adapters"]
    assert (row["canary"]["digest"], row["canary"]["weight"]) == ("2" * 64, None)
    assert run(["adapter", "list"]) == 0
    assert "222222222222 ended, still on 2 of 2" in capsys.readouterr().out
    observed(held="RolledBack", **GOOD)
    assert run(["adapter", "list", "phi", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["adapters"][0]["canary"] is None


def test_the_list_joins_the_catalogue_with_what_replicas_count(observed, capsys):
    """Requests and errors of the canary over all replicas, and who serves what."""
    observed(**CANARY, **GOOD)
    assert run(["adapter", "list", "phi", "-o", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["adapters"]
    assert row["canary"] == {
        "digest": "2" * 64,
        "weight": 10,
        "requests": 80,
        "errors": 2,
        "serving": 2,
        "message": "",
    }
    assert (row["service"], row["name"], row["replicas"], row["held"]) == (
        "phi",
        "sales",
        {"serving": 2, "all": 2},
        None,
    )
    assert run(["adapter", "list"]) == 0
    text = capsys.readouterr().out
    assert "222222222222" in text
    assert "10 %" in text
    assert run(["adapter", "list", "other"]) == 1
    assert "There is no service 'other'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seen", "action", "said"),
    [
        (CANARY, "promote", "source: ./two   # and remove canary"),
        (CANARY, "rollback", "source: ./one   # and remove canary"),
        (CANARY | {"held": "Promoted"}, "rollback", "source: ./one   # and remove canary"),
        (CANARY | {"held": "RolledBack"}, "promote", "source: ./two   # and remove canary"),
        (GOOD, "rollback", "source: share://adapters/sales/000000000000"),
        (GOOD | {"held": "RolledBack"}, "promote", "promote sales of phi"),
    ],
)
def test_an_order_is_kept_for_the_daemon_and_the_edit_is_offered(
    observed, capsys, seen, action, said
):
    """It names what the document asked for at that moment; one for each adapter."""
    observed(**seen)
    assert run(["adapter", action, "phi", "sales"]) == 0
    out = capsys.readouterr().out
    assert said in out
    assert "the daemon acts on it when it runs; none does now" in out
    assert observed.orders() == {"sales": action}


@pytest.mark.parametrize(
    ("seen", "arguments", "said"),
    [
        ({}, ["promote", "phi", "sales"], "it has no canary"),
        ({}, ["rollback", "phi", "sales"], "there is no version to go back to"),
        (CANARY | {"held": "Promoted"}, ["promote", "phi", "sales"], "promoted already"),
        (CANARY | {"held": "RolledBack"}, ["rollback", "phi", "sales"], "rolled back already"),
        ({}, ["promote", "phi", "nobody"], "There is no adapter 'nobody' of phi"),
    ],
)
def test_an_order_without_an_object_is_refused(observed, capsys, seen, arguments, said):
    """With the reason and exit code 1; nothing is left for the daemon."""
    observed(**seen)
    assert run(["adapter", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert observed.orders() == {}
