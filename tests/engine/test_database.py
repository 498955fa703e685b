"""The state file is a cache: whatever happens to it, its owner goes on from memory and returns."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import suppress

import pytest

from reconciler.api.stat_cache import Stamp, StatCache
from reconciler.engine.store import Store


def kept(tmp_path):
    """A store with a fact, and what it said about its file."""
    store = Store.keep(tmp_path / "state.db", "t")
    told = []
    store.database.on_change = lambda: told.append(store.database.lost)
    store.put("before", "1")
    return store, told


def fill(store, _path):
    db = store.database.connection
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")


def lock_away(store, _path):
    store.database.connection.execute("PRAGMA query_only = ON")


def damage(store, path):
    store.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    path.write_bytes(b"\x7f" * size)
    store.database.connection.execute("PRAGMA shrink_memory")


@pytest.mark.parametrize("fault", [fill, lock_away, damage])
def test_a_file_that_fails_is_left_and_taken_up_again(tmp_path, fault):
    """Full, read-only or damaged while it is open: nothing raises, it is said once, and what was
    known goes back to the file when that can be used again.
    """
    store, told = kept(tmp_path)
    fault(store, tmp_path / "state.db")
    for number in range(200):
        store.put(f"fact {number}", "x" * 1000)
    assert (len(told), bool(told[0])) == (1, True)
    assert store.get("fact 199") == "x" * 1000
    assert fault is damage or store.get("before") == "1"
    store.database.restore()
    assert told[1:] == [""]
    store.put("after", "2")
    store.close()
    again = Store.open(tmp_path / "state.db", "t")
    assert (again.get("fact 199"), again.get("after")) == ("x" * 1000, "2")
    again.close()


@pytest.mark.parametrize("fault", [fill, lock_away])
def test_a_file_that_fails_in_a_transaction_costs_nothing_of_it(tmp_path, fault):
    """The daemon goes on in memory with all that the block wrote."""
    store, told = kept(tmp_path)
    with store.transaction():
        store.put("first", "1")
        fault(store, tmp_path / "state.db")
        for number in range(200):
            store.put(f"fact {number}", "x" * 1000)
    assert (len(told), bool(told[0])) == (1, True)
    assert store.get("fact 199") == "x" * 1000
    assert (store.get("before"), store.get("first")) == ("1", "1")
    store.close()


def test_a_transaction_that_fails_leaves_nothing(tmp_path):
    """An error in the block, or a file that another process holds for too long."""
    store, _ = kept(tmp_path)

    def fail():
        with store.transaction():
            store.put("half", "1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.get("half") is None
    store.database.connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"), store.transaction():
        store.put("half", "1")
    other.close()
    assert (store.get("half"), store.database.lost) == (None, "")
    store.close()


def test_a_place_that_can_hold_no_file_costs_the_memory_of_a_restart(tmp_path):
    """A file where the folder should be: the owner works, other commands are told."""
    (tmp_path / "in the way").write_text("")
    path = tmp_path / "in the way" / "state.db"
    store = Store.keep(path, "t")
    store.put("fact", "1")
    assert store.get("fact") == "1"
    assert store.database.lost
    with pytest.raises(OSError, match=r"exists|directory"):
        store.database.restore()
    assert store.get("fact") == "1"
    with pytest.raises(OSError, match=r"exists|directory"):
        Store.open(path, "t")


def test_an_error_of_a_statement_is_no_loss(tmp_path):
    """A defect is not hidden behind an empty memory."""
    store, told = kept(tmp_path)
    with pytest.raises(sqlite3.Error):
        store.database.rows("SELECT nothing FROM nowhere", ())
    assert told == []
    store.close()


@pytest.mark.parametrize("where", ["garbage", "folder", "in the way/hashes.db"])
def test_hashes_need_no_file(tmp_path, where):
    """Whatever lies where they are kept, they are known while the process runs."""
    (tmp_path / "in the way").write_text("")
    (tmp_path / "garbage").write_bytes(b"no database" * 1000)
    (tmp_path / "folder").mkdir()
    cache, stamp = StatCache(tmp_path / where), Stamp(1, 2, 3, "4")
    cache.write(tmp_path, {"file": (stamp, "hash")})
    assert cache.read(tmp_path) == {"file": (stamp, "hash")}
    cache.close()


@pytest.mark.skipif(not shutil.which("mount") or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("disk", ["full", "read-only"])
def test_a_good_file_on_a_bad_disk_is_read_and_left_alone(tmp_path, disk):
    """A daemon that starts there knows what the last one knew, and returns to the same file."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts")
    try:
        first = Store.keep(folder / "state.db", "t")
        first.put("before", "1")
        first.close()
        if disk == "full":
            with suppress(OSError), (folder / "fill").open("wb", buffering=0) as fill:
                while True:
                    fill.write(bytes(1024))
        else:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        store = Store.keep(folder / "state.db", "t")
        for number in range(50):
            store.put(f"fact {number}", "x" * 2000)
        assert store.database.lost
        assert (store.get("before"), store.get("fact 49")) == ("1", "x" * 2000)
        subprocess.run(["mount", "-o", "remount,rw,size=2m", folder], check=True)
        store.database.restore()
        store.close()
        again = Store.open(folder / "state.db", "t")
        assert (again.get("before"), again.get("fact 49")) == ("1", "x" * 2000)
        again.close()
        assert not list(folder.glob("*.unreadable*"))
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def test_a_damaged_file_is_nothing_to_read(tmp_path):
    """Another command sees no state, instead of an error in the middle of its work."""
    store, _ = kept(tmp_path)
    store.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    path = tmp_path / "state.db"
    path.write_bytes(path.read_bytes()[:100] + b"\x7f" * (path.stat().st_size - 100))
    assert Store.read(path, "t") is None
