"""One daemon per state folder: the lock of the folder, and what may happen to it."""

from reconciler.lock import FolderLock


def test_a_lock_that_was_taken_away_is_lost(tmp_path):
    """Removed or replaced: another process may hold its name by now."""
    with FolderLock(tmp_path) as lock:
        assert not lock.lost()
        lock.path.rename(tmp_path / "other")
        assert lock.lost()
        lock.path.write_text("")
        assert lock.lost()


def test_a_folder_that_can_hold_no_lock_needs_none(tmp_path):
    """The lease on the share keeps two daemons apart."""
    (tmp_path / "in the way").write_text("")
    with FolderLock(tmp_path / "in the way" / "daemon") as lock:
        assert not lock.lost()
