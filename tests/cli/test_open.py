"""`moorage open`: the address of the page, or of the portal; what is not there is said."""

import json
from dataclasses import replace

import pytest

from reconciler.api.outputs import AppOutputs
from reconciler.cli.app import run
from reconciler.engine.external import DocumentRef, ObjectKey, Policy
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import Store
from reconciler.lock import FolderLock
from reconciler.page import ADDRESS

ID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.App/containerApps/phi"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
PHI = DocumentRef("InferenceService", "phi")


def make(folder, key):
    folder.mkdir(parents=True)
    store = Store.open(folder / "state.db", key)
    store.put_document(PHI, 1, "default", False)
    app = ObjectKey("ContainerApp", "phi")
    record = ObjectRecord(app, PHI, policy=Policy.MANAGE, phase=Phase.READY)
    store.put_object(replace(record, exists=True, outputs=AppOutputs(ID).dump()))
    store.close()
    return folder


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path))
    return make(tmp_path / "daemon" / "local", "local")


def test_the_address_is_that_of_the_running_daemon(state, capsys):
    """The overview, or the page of one service."""
    (state / ADDRESS).write_text(json.dumps({"address": "http://127.0.0.1:8787/", "pid": 1}))
    with FolderLock(state):
        assert run(["open"]) == 0
        assert run(["open", "phi"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "http://127.0.0.1:8787/",
        "http://127.0.0.1:8787/services/phi",
    ]


@pytest.mark.parametrize(
    ("written", "running", "arguments", "said"),
    [
        (None, False, [], "No daemon runs"),
        (None, True, [], "serves no page"),
        ("{", True, [], "serves no page"),
        (None, True, ["nope"], "There is no service 'nope' in these documents"),
        (None, True, ["phi", "--portal"], "has no portal"),
    ],
)
def test_what_cannot_be_opened_is_told(state, capsys, written, running, arguments, said):
    """Exit code 1 and a sentence."""
    if written is not None:
        (state / ADDRESS).write_text(written)
    if running:
        with FolderLock(state):
            assert run(["open", *arguments]) == 1
    else:
        assert run(["open", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_the_portal_shows_the_container_app(tmp_path, monkeypatch, capsys):
    """On Azure, by the id that the daemon has observed; the cloud's own portal."""
    for name, value in {
        "STATE_DIR": str(tmp_path),
        "TARGET": "azure",
        "SUBSCRIPTION_ID": SUBSCRIPTION,
        "CREDENTIAL": "azure-cli",
    }.items():
        monkeypatch.setenv(f"MOORAGE_{name}", value)
    make(tmp_path / "daemon" / f"azure-{SUBSCRIPTION}", f"azure-{SUBSCRIPTION}")
    assert run(["open", "phi", "--portal"]) == 0
    monkeypatch.setenv("MOORAGE_CLOUD", "AzureUSGovernment")
    assert run(["open", "phi", "--portal"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"https://portal.azure.com/#resource{ID}",
        f"https://portal.azure.us/#resource{ID}",
    ]
