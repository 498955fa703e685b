"""`moorage wait`: scripts wait for what the daemon observes, and learn why it does not come."""

import threading
import time
from datetime import UTC, datetime

import pytest

from reconciler.api.conditions import ConditionSet, ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.cli import wait
from reconciler.cli.app import run
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import Store
from reconciler.lock import FolderLock

PHI = DocumentRef("InferenceService", "phi")


class State:
    """A state directory whose documents are written as a daemon writes them."""

    def __init__(self, folder):
        self.folder = folder / "daemon" / "local"
        self.folder.mkdir(parents=True)
        self.store = Store.open(self.folder / "state.db", "local")

    def observe(self, ready, generation=1, observed=1, stalled=False):
        marks = ConditionSet(lambda: datetime.now(UTC))
        said = {
            ConditionType.READY: (Status.of(ready), Reason.PROGRESSING, "it boots"),
            ConditionType.STALLED: (Status.of(stalled), Reason.NOT_STALLED, ""),
        }
        for kind, (status, reason, message) in said.items():
            marks.mark(kind, status, reason, message, generation=1)
        self.store.put_document(PHI, generation, "default", False)
        self.store.put_conditions(PHI, observed, marks)


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(wait, "STEADY", 0.2)
    monkeypatch.setattr(wait, "LOOK", 0.02)
    state = State(tmp_path)
    yield state
    state.store.close()


def test_a_condition_that_holds_ends_the_wait(state, capsys):
    """Exit code 0 at once, also while no daemon runs."""
    state.observe(ready=True)
    assert run(["wait", "phi"]) == 0
    assert capsys.readouterr().out == "phi: Ready\n"
    assert run(["wait", "InferenceService/phi", "--for", "stalled=false"]) == 0


def test_a_timeout_of_nothing_looks_once(state):
    """0 when it holds now, 5 when it does not, beside a running daemon."""
    state.observe(ready=True)
    with FolderLock(state.folder):
        assert run(["wait", "phi", "--timeout", "0"]) == 0
        state.observe(ready=False)
        assert run(["wait", "phi", "--timeout", "0"]) == 5


def test_the_last_saved_version_is_meant(state, capsys):
    """Ready for an older generation is not enough."""
    state.observe(ready=True, generation=2, observed=1)
    with FolderLock(state.folder):
        assert run(["wait", "phi", "--timeout", "0.1"]) == 5
    assert "has not been observed yet" in capsys.readouterr().err


def test_it_goes_on_until_the_condition_holds(state):
    """Another process writes it while the command waits."""
    state.observe(ready=False)

    def later():
        time.sleep(0.3)
        store = Store.open(state.folder / "state.db", "local")
        other = State.__new__(State)
        other.store = store
        other.observe(ready=True)
        store.close()

    thread = threading.Thread(target=later)
    with FolderLock(state.folder):
        thread.start()
        assert run(["wait", "phi", "--timeout", "20"]) == 0
    thread.join()


@pytest.mark.parametrize(
    ("ready", "stalled", "daemon", "code", "said"),
    [
        (False, False, True, 5, "phi: Ready is False (Progressing: it boots)"),
        (False, True, True, 4, "phi waits for a person"),
        (False, False, False, 1, "No daemon runs"),
    ],
    ids=["time", "stalled", "no daemon"],
)
def test_the_end_of_a_vain_wait_says_why(state, capsys, ready, stalled, daemon, code, said):
    """5 for the time, 4 for a person, 1 where nothing will change it."""
    state.observe(ready=ready, stalled=stalled)
    lock = FolderLock(state.folder)
    if daemon:
        lock.__enter__()
    try:
        assert run(["wait", "phi", "--timeout", "0.1"]) == code
    finally:
        if daemon:
            lock.__exit__()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("asked", ["Nonsense", "Ready=Perhaps", ""])
def test_an_unknown_condition_is_refused(state, asked):
    """Exit code 2, and nothing is waited for."""
    assert run(["wait", "phi", "--for", asked]) == 2
