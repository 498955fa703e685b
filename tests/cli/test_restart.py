"""After `restart` and `warm` a running daemon looks at the service at once."""

import pytest

from reconciler.cli.restart import let_daemon_look
from reconciler.engine.store import Store
from reconciler.lock import FolderLock
from reconciler.settings import Settings
from reconciler.sources.orders import take_looks


@pytest.mark.parametrize("runs", [True, False], ids=["a daemon", "no daemon"])
def test_a_running_daemon_is_told_to_look(runs, tmp_path):
    """In the store of the set that it runs; without a daemon nothing is ordered."""
    settings = Settings(
        "local", "00000000-0000-0000-0000-000000000001", "azure-cli", state_dir=tmp_path
    )
    folder = settings.daemon_dir
    folder.mkdir(parents=True)
    whole = Store.open(folder / "state.db", settings.target_key)
    whole.put("set-id", "mine")
    store = whole.of_set("mine")
    if runs:
        with FolderLock(folder):
            let_daemon_look(settings, "phi")
    else:
        let_daemon_look(settings, "phi")
    assert take_looks(store) == ({"InferenceService/phi"} if runs else set())
    store.close()
