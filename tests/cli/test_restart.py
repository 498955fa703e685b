"""`restart` and `warm` leave an event, and a running daemon looks at the service at once."""

import pytest

from reconciler.cli.restart import _progress, _until, note_deed
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import Store
from reconciler.lock import FolderLock
from reconciler.settings import Settings
from reconciler.sources.decisions import caller
from reconciler.sources.orders import take_looks


@pytest.mark.parametrize("runs", [True, False], ids=["a daemon", "no daemon"])
def test_a_running_daemon_is_told_to_look(runs, tmp_path):
    """In the store of the set that it runs; without a daemon only the event is left."""
    settings = Settings(
        "local", "00000000-0000-0000-0000-000000000001", "azure-cli", state_dir=tmp_path
    )
    folder = settings.daemon_dir
    folder.mkdir(parents=True)
    whole = Store.open(folder / "state.db", settings.target_key)
    whole.put("set-id", "mine")
    store = whole.of_set("mine")
    store.put_document(DocumentRef("InferenceService", "phi"), 1, "dev", prune=False)
    if runs:
        with FolderLock(folder):
            note_deed(settings, "phi", "restarted phi--one")
    else:
        note_deed(settings, "phi", "restarted phi--one")
    assert take_looks(store) == ({"InferenceService/phi"} if runs else set())
    (event,) = store.events()
    assert (event.reason, event.message) == ("Decided", f"{caller()} restarted phi--one")
    store.close()


def test_who_wakes_a_service_reads_when_it_sleeps_again():
    """After the cooldown, or never where a replica always runs."""
    assert "stops after 300 s without requests" in _until({"minReplicas": 0, "cooldownPeriod": 300})
    assert "a replica always runs" in _until({"minReplicas": 2, "cooldownPeriod": 300})


def test_who_waits_for_a_restart_reads_how_far_it_is():
    """Of the new replicas alone."""
    now = [("old", True), ("one", True), ("two", False)]
    assert _progress("web", now, {"old"}, 15.2) == "web: 1 of 2 new replicas are ready, 15 s"
