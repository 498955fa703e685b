"""A command that leaves an order for the daemon is killed at each of its statements: the order is
there as a whole, or nothing of it.
"""

import os
import shutil
import signal
import sqlite3
import time

import pytest

from reconciler.api.reasons import Reason
from reconciler.api.resources import Return
from reconciler.cli import plan_file
from reconciler.cli.app import run
from reconciler.cli.context import writable_store
from reconciler.cli.foresight import Foreseen
from reconciler.cli.output.subject import Subject
from reconciler.engine.external import ObjectKey, Policy
from reconciler.engine.plan import WAITS, PlanLine
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import Store
from reconciler.settings import place_of
from reconciler.sources.orders import order_rollback, take_looks
from tests.cli.test_paused_orders import PHI
from tests.cli.test_paused_orders import store as midway

COMMANDS = [
    ("approve", "-y"),
    ("rollback", "phi"),
    ("promote", "phi", "--full"),
    ("adapter", "promote", "phi", "sales"),
    ("adapter", "rollback", "phi", "sales"),
    ("resume", "phi"),
    ("reconcile", "phi"),
]
NOW = 1_900_000_000.0
CHANGES = ("INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT")
store = midway


@pytest.fixture
def folder(store, tmp_path, monkeypatch):
    """A rollout in its middle, with two deletions and a change of a whole document that wait."""
    for name in ("old", "older"):
        end = {"phase": Phase.LINGERING, "reason": Reason.AWAITING_APPROVAL}
        store.put_object(ObjectRecord(ObjectKey("AdapterCatalogue", name), PHI, gone=True, **end))
    change = ObjectRecord(ObjectKey("Job", "work"), PHI, Phase.BLOCKED, policy=Policy.ASK)
    store.put_object(change)
    store.put(f"version {PHI}", "words")
    store.put("promotion phi", '["phi--two", 50]')
    store.close()
    monkeypatch.setattr(time, "time", lambda: NOW)
    folder, _, _ = place_of(target=None, state_dir=tmp_path)
    return folder


def content(path):
    """Everything that an order can change."""
    db = sqlite3.connect(path)
    try:
        return [db.execute(f"SELECT * FROM {table}").fetchall() for table in ("facts", "approvals")]
    finally:
        db.close()


def in_a_process(act, number=None):
    """Run it in a process of its own, which is killed at its `number`-th statement that changes
    something (from 0). Returns whether it came to its end.
    """
    child = os.fork()
    if child == 0:
        try:
            if number is not None:
                kill_at(number)
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) != -signal.SIGKILL


def kill_at(number):
    left, connect = [number], sqlite3.connect

    def count(statement):
        if statement.startswith(CHANGES):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    def watched(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(count)
        return connection

    sqlite3.connect = watched


def go_back(folder):
    """A rollback of adapters and revision, as the command gives it for a service that has both."""
    order = Return(refused="phi--two", serves="phi--one", adapters=2, asked="words")
    key = place_of(target=None, state_dir=folder.parents[1])[1]
    with writable_store(folder, key) as writable:
        order_rollback(writable, "phi", order, NOW)


def approve_plan(folder):
    """A kept plan with a deletion, a replacement and a change, as `approve FILE` takes it."""
    job, old = ObjectKey("Job", "work"), ObjectKey("AdapterCatalogue", "old")
    kept = ((job, "update"), (old, "delete"), (ObjectKey("AdapterCatalogue", "older"), "replace"))
    lines = tuple(PlanLine(key, PHI, action, problem=WAITS) for key, action in kept)
    key = place_of(target=None, state_dir=folder.parents[1])[1]
    plan = Foreseen(lines, {PHI: "words"}, key, {}, Subject("local Azure", None), {}, {}, {})
    with writable_store(folder, key) as writable:
        plan_file.grant(writable, plan, NOW)


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, go_back, approve_plan],
    ids=lambda each: each.__name__ if callable(each) else " ".join(each),
)
def test_a_killed_command_leaves_its_whole_order_or_none(folder, command, tmp_path):
    """Half an order would be half a rollback, or an approval that wakes nobody."""

    def act():
        if callable(command):
            command(folder)
        else:
            assert run(command) == 0

    path, kept = folder / "state.db", tmp_path / "kept"
    before = content(path)
    shutil.copytree(folder, kept)
    assert in_a_process(act)
    whole = content(path)
    assert whole != before
    number, seen = 0, []
    while True:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        ended = in_a_process(act, number)
        found = content(path)
        assert found in (before, whole)
        seen.append(found == whole)
        if ended:
            break
        number += 1
    assert number >= 3
    assert seen == [False] * number + [True]


def test_a_look_that_is_ordered_while_another_is_taken_is_not_lost(folder, monkeypatch):
    """Nobody writes between the daemon's reading of what was ordered and its removal."""
    path = folder / "state.db"
    key = place_of(target=None, state_dir=folder.parents[1])[1]
    store = Store.open(path, key)
    assert run(("reconcile", "phi")) == 0
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    put, refused = store.put, []

    def late(name, value):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE facts SET value=value")
        refused.append(name)
        put(name, value)

    monkeypatch.setattr(store, "put", late)
    assert take_looks(store) == {str(PHI)}
    assert len(refused) == 1
    other.close()
    store.close()
