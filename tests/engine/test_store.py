"""The store is a cache for one writer and many readers, each target on its own."""

from __future__ import annotations

import sqlite3
import stat
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from reconciler.api.conditions import ConditionSet, ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.engine.events import normal, warning
from reconciler.engine.external import DocumentRef, Mark, ObjectKey, Policy
from reconciler.engine.record import ObjectRecord, Phase, public
from reconciler.engine.store import MAX_EVENTS, MEMORY, Store

DOC, KEY = DocumentRef("Service", "phi"), ObjectKey("Thing", "a/b")
RECORD = ObjectRecord(
    KEY,
    DOC,
    "/things/a",
    "dev",
    Phase.READY,
    "Healthy",
    "ok",
    1.0,
    2.0,
    3.0,
    exists=True,
    usable=True,
    synced=True,
    drifted=True,
    changes=("a: 1 -> 2",),
    marks=(Mark(ConditionType.PUBLISHED, Status.TRUE, Reason.PUBLISHED),),
    outputs={"id": "/x", "list": [1, None]},
    generation=4,
    fingerprint="f",
    settled="s",
    operation="token",
    verb="create",
    writes={"w": 2},
    refs=(ObjectKey("Thing", "r"),),
    policy=Policy.OBSERVE,
    retain=True,
)


@pytest.fixture
def store():
    return Store.open(MEMORY, "local")


def test_a_generation_rises_only_when_the_spec_changed(store):
    """Saving the same spec again, also after a restart, is the same generation."""
    assert [store.generation(DOC, digest) for digest in ("a", "a", "b", "b", "a")] == [
        1,
        1,
        2,
        2,
        3,
    ]
    store.put_document(DOC, 3, "dev", prune=True)
    assert store.generation(DOC, "a") == 3


def test_a_record_comes_back_as_it_went(store):
    """Every field of a record survives."""
    store.put_object(RECORD)
    assert store.objects() == (RECORD,)
    store.drop_object(KEY)
    assert store.objects() == ()


def test_conditions_come_back_as_they_went(store):
    """The conditions of a document survive with their times."""
    conditions = ConditionSet(lambda: datetime(2026, 1, 2, tzinfo=UTC))
    conditions.mark("Ready", "True", "AllGood", generation=2)
    store.put_document(DOC, 2, "dev", prune=False)
    store.put_conditions(DOC, 2, conditions)
    (row,) = store.documents()
    assert (row.generation, row.observed, row.scope, list(row.conditions)) == (
        2,
        2,
        "dev",
        list(conditions),
    )


def test_targets_do_not_see_each_other(tmp_path):
    """The local Azure's state is not the real Azure's, though they share a file."""
    local, azure = (
        Store.open(tmp_path / "state.db", "local"),
        Store.open(tmp_path / "state.db", "azure"),
    )
    local.put_object(RECORD)
    local.put("share", "x")
    local.approve(KEY, "delete")
    local.add_event(normal(Reason.READY, "m", KEY, DOC), 1.0)
    assert (azure.objects(), azure.get("share"), azure.approved(KEY, "delete"), azure.events()) == (
        (),
        None,
        False,
        (),
    )


def test_repeated_events_are_counted(store):
    """The same event again raises its count and moves its last time; another message is another
    event.
    """
    store.add_event(warning(Reason.NOT_READY, "no", KEY, DOC), 1.0)
    store.add_event(normal(Reason.READY, "yes", KEY, DOC), 2.0)
    store.add_event(warning(Reason.NOT_READY, "no", KEY, DOC), 3.0)
    first, second = store.events()
    assert (first.reason, second.reason) == ("Ready", "NotReady")
    assert (second.count, second.first, second.last) == (2, 1.0, 3.0)
    assert store.events(DocumentRef("Service", "other")) == ()


def test_events_are_bounded(store):
    """However much happens, only the latest events are kept."""
    for number in range(MAX_EVENTS + 50):
        store.add_event(normal(Reason.READY, str(number), KEY, DOC), float(number))
    events = store.events()
    assert (len(events), events[0].message, events[-1].message) == (
        MAX_EVENTS,
        "50",
        str(MAX_EVENTS + 49),
    )
    assert len(store.events(limit=3)) == 3


def test_only_the_owner_can_read_it(tmp_path):
    """The file, and what SQLite puts beside it, are owner-only."""
    store = Store.open(tmp_path / "daemon" / "state.db", "local")
    store.put("a", "b")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "daemon").iterdir()
    }
    assert set(modes) == {"state.db", "state.db-wal", "state.db-shm"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "daemon").stat().st_mode) == 0o700


def test_readers_see_what_a_writer_writes(tmp_path):
    """Another process reads while the daemon writes, cannot write, and can read when the daemon is
    gone.
    """
    path = tmp_path / "state.db"
    assert Store.read(path, "local") is None
    assert not path.exists()
    writer = Store.open(path, "local")
    reader = Store.read(path, "local")
    writer.put_object(RECORD)
    assert reader.objects() == (RECORD,)
    with pytest.raises(sqlite3.OperationalError):
        reader.put("a", "b")
    writer.close()
    reader.close()
    assert Store.read(path, "local").objects() == (RECORD,)


def test_a_copy_leaves_no_trace(tmp_path):
    """A plan writes into a copy in memory."""
    path = tmp_path / "state.db"
    Store.open(path, "local").put_object(RECORD)
    copy = Store.copy(path, "local")
    assert copy.objects() == (RECORD,)
    copy.drop_object(KEY)
    assert Store.read(path, "local").objects() == (RECORD,)
    assert Store.copy(tmp_path / "none.db", "local").objects() == ()
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b""], ids=["rubbish", "empty"])
def test_a_damaged_file_is_put_aside(tmp_path, damage):
    """The store is a cache: an unreadable file costs its contents, not the start."""
    path = tmp_path / "state.db"
    path.write_bytes(damage)
    store = Store.open(path, "local")
    store.put_object(RECORD)
    assert Store.read(path, "local").objects() == (RECORD,)


def test_a_file_of_another_release_is_put_aside(tmp_path):
    """A store of another version is not misread."""
    path = tmp_path / "state.db"
    Store.open(path, "local").close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    assert Store.read(path, "local") is None
    assert Store.open(path, "local").objects() == ()


def test_a_record_of_another_release_is_left_out(store):
    """A single record that cannot be read is as if it had been lost."""
    store.put_object(RECORD)
    store.database.connection.execute(
        "INSERT INTO objects VALUES ('local', 'Thing', 'old', '{\"phase\": \"Strange\"}')"
    )
    assert store.objects() == (RECORD,)


def test_secrets_are_never_kept():
    """Outputs reach the store without secret values, however deep they are."""
    outputs = {
        "id": "/x",
        "account": {"key1": SecretStr("s"), "accountKey": "s", "keyFingerprint": "f"},
        "tokens": [SecretStr("s"), "t"],
    }
    assert public(outputs) == {"id": "/x", "account": {"keyFingerprint": "f"}, "tokens": ["t"]}


def test_each_decision_keeps_its_time(tmp_path):
    """A pause, its end and another pause are three events; the same command twice in a row is one
    that is counted.
    """
    store, document = (
        Store.open(tmp_path / "state.db", "local"),
        DocumentRef("InferenceService", "phi"),
    )
    for at, what in enumerate(["paused it", "resumed it", "paused it", "paused it"]):
        store.add_event(normal(Reason.DECIDED, f"me {what}", document, document), float(at))
    told = [(each.message, each.count, each.last) for each in store.events()]
    assert told == [("me paused it", 1, 0.0), ("me resumed it", 1, 1.0), ("me paused it", 2, 3.0)]
    store.close()
