"""A folder's digest: the same content gives the same digest anywhere, and unchanged files are read
once.
"""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api import digest as module
from reconciler.api.digest import TreeChanging, TreeError, digest_of, digest_tree
from reconciler.api.smb_names import collision_key, name_fault
from reconciler.api.stat_cache import StatCache


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "sub" / "a.txt").write_text("a")
    return folder


@pytest.fixture
def cache(tmp_path):
    cache = StatCache(tmp_path / "cache" / "hashes.db")
    yield cache
    cache.close()


@pytest.fixture
def hashed(monkeypatch):
    """The files that were really read."""
    read, real = [], module._hash
    monkeypatch.setattr(
        module,
        "_hash",
        lambda folder, relative, stamp: read.append(relative) or real(folder, relative, stamp),
    )
    return read


def test_the_digest_is_over_sorted_paths_sizes_and_hashes(folder):
    """The format is fixed: other programs may compute it."""
    tree = digest_tree(folder)
    lines = "".join(
        f"{name}\0{1}\0{hashlib.sha256(text).hexdigest()}\n"
        for name, text in (("b.txt", b"b"), ("sub/a.txt", b"a"))
    )
    assert tree.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert list(tree.files) == ["b.txt", "sub/a.txt"]
    assert tree.files["sub/a.txt"].path == folder / "sub" / "a.txt"
    assert tree.size == 2
    assert (
        digest_of((name, file.size, file.sha256) for name, file in tree.files.items())
        == tree.digest
    )


def test_what_is_not_content_does_not_count(folder):
    """Version control, caches and half-written files change nothing, nor do empty folders, times
    and modes.
    """
    before = digest_tree(folder).digest
    for name in (".git", "__pycache__", ".venv"):
        (folder / name).mkdir()
        (folder / name / "x").write_text("x")
    for name in (".DS_Store", "half.tmp", "x.pyc", ".m.yaml.swp", ".moorage.json"):
        (folder / name).write_text("x")
    (folder / "empty").mkdir()
    (folder / "b.txt").chmod(0o755)
    os.utime(folder / "b.txt", (1, 1))
    assert digest_tree(folder).digest == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "b.txt").write_text("c"),
        lambda folder: (folder / "b.txt").rename(folder / "c.txt"),
        lambda folder: (folder / "c.txt").write_text(""),
        lambda folder: (folder / "b.txt").unlink(),
    ],
)
def test_any_change_of_content_changes_the_digest(folder, change):
    """A byte, a name, a file more, a file less."""
    before = digest_tree(folder).digest
    change(folder)
    assert digest_tree(folder).digest != before


def test_unchanged_files_are_never_read_again(folder, cache, hashed, tmp_path):
    """Not in this process, and not in the next; only what changed is read."""
    first = digest_tree(folder, cache)
    assert sorted(hashed) == ["b.txt", "sub/a.txt"]
    cache.close()
    again = StatCache(tmp_path / "cache" / "hashes.db")
    assert digest_tree(folder, again) == first
    assert len(hashed) == 2
    (folder / "b.txt").write_text("x")
    assert digest_tree(folder, again).digest != first.digest
    assert hashed[2:] == ["b.txt"]
    (folder / "b.txt").unlink()
    digest_tree(folder, again)
    assert set(again.read(folder)) == {"sub/a.txt"}
    again.close()


def test_a_writer_that_sets_the_time_back_is_noticed(folder, cache):
    """Same size, same modification time, other bytes: as `cp -p` and rsync leave it."""
    before = digest_tree(folder, cache).digest
    times = (folder / "b.txt").stat()
    (folder / "b.txt").write_text("x")
    os.utime(folder / "b.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest_tree(folder, cache).digest != before


def test_two_writes_within_one_tick_of_the_clock(folder, cache):
    """Digesting right after a write must not vouch for the write that follows at once."""
    for i in range(20):
        (folder / "b.txt").write_text(chr(65 + i))
        assert digest_tree(folder, cache).digest == digest_tree(folder).digest


def test_a_damaged_cache_is_replaced(folder, tmp_path):
    """It is only a cache."""
    (tmp_path / "c.db").write_bytes(b"this is no database, however long it may be" * 100)
    cache = StatCache(tmp_path / "c.db")
    assert digest_tree(folder, cache) == digest_tree(folder)
    cache.close()
    assert digest_tree(folder, cache) == digest_tree(folder)


@pytest.mark.parametrize(
    ("make", "where", "what"),
    [
        (lambda folder: (folder / "link").symlink_to("b.txt"), "link", "is a link"),
        (lambda folder: (folder / "dirlink").symlink_to("sub"), "dirlink", "is a link"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe", "is neither a file nor a folder"),
        (lambda folder: (folder / "a:b").write_text(""), "a:b", "holds ':'"),
        (lambda folder: (folder / "dot.").write_text(""), "dot.", "ends with '.'"),
        (
            lambda folder: (folder / "sub" / "NUL.txt").write_text(""),
            "sub/NUL.txt",
            "is named like the device NUL",
        ),
        (
            lambda folder: (folder / "B.txt").write_text(""),
            "b.txt",
            "differs from B.txt in case or accents only",
        ),
        (
            lambda folder: (folder / "Sub").mkdir() or (folder / "Sub" / "z").write_text(""),
            "sub",
            "differs from Sub",
        ),
        (
            lambda folder: (Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))).write_text(""),
            "\udcff",
            "not valid Unicode",
        ),
    ],
)
def test_what_a_share_cannot_hold_is_an_error(folder, make, where, what):
    """Said before anything is uploaded, with the path."""
    make(folder)
    with pytest.raises(TreeError) as caught:
        digest_tree(folder)
    ((path, problem),) = caught.value.problems
    assert path == where
    assert what in problem


def test_all_faults_of_a_folder_together(folder):
    """A person corrects them in one go."""
    (folder / "a|b").write_text("")
    (folder / "link").symlink_to("nowhere")
    with pytest.raises(TreeError) as caught:
        digest_tree(folder)
    assert [path for path, _ in caught.value.problems] == ["a|b", "link"]


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: None], ids=["empty", "missing"]
)
def test_an_empty_or_missing_folder_is_no_content(tmp_path, make):
    """An unmounted folder must not look like the wish for nothing."""
    make(tmp_path / "x")
    with pytest.raises(TreeError):
        digest_tree(tmp_path / "x")


def test_a_file_that_changes_while_it_is_read(folder, monkeypatch):
    """A half-written file is never taken for a version."""
    real = hashlib.file_digest

    def write_meanwhile(stream, name):
        result = real(stream, name)
        (folder / "b.txt").write_text("grown")
        return result

    monkeypatch.setattr(hashlib, "file_digest", write_meanwhile)
    with pytest.raises(TreeChanging):
        digest_tree(folder)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=12))
def test_a_name_is_either_safe_for_a_share_or_refused(name):
    """What is let through has none of the characters SMB forbids; the key of a name
    ignores case.
    """
    if name_fault(name, name) is None:
        assert not set(name) & set('"\\/:|<>*?\0')
    assert collision_key(collision_key(name)) == collision_key(name)


def test_only_named_files_count_where_they_are_named(tmp_path):
    """What a trainer leaves beside an adapter changes nothing of its digest, links included."""
    (tmp_path / "config.json").write_text("{}")
    before = digest_tree(tmp_path, only=("config.json", "weights"))
    (tmp_path / "checkpoint-500").mkdir()
    (tmp_path / "checkpoint-500" / "optimizer.pt").write_bytes(b"x")
    (tmp_path / "latest").symlink_to("checkpoint-500")
    assert digest_tree(tmp_path, only=("config.json", "weights")) == before
    assert list(before.files) == ["config.json"]
